"""Training of a detector: cosine with warm-up, clipped gradients, averaged weights, and going on after a kill."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from facemask.core.errors import UserError
from facemask.core.files import remove, replacing
from facemask.core.params import Count, Extent, Float, Section
from facemask.networks.detection import Detector, decoded, loss
from facemask.networks.fine_tuning import give_weights

if TYPE_CHECKING:
    import keras

LONGEST_AVERAGE = 0.999
CLIP = 10.0  # the norm of all gradients together

Batches = Callable[[int], Iterable[tuple[np.ndarray, np.ndarray]]]


class Training(Section):
    """How a detector is trained; detection/params.yaml explains each."""

    lr: Annotated[Float, Field(gt=0, le=1)]
    trunk_lr: Annotated[Float, Field(gt=0, le=1)]
    warm_up: Annotated[Float, Field(ge=0)]
    weight_decay: Extent
    epochs: Count
    patience: Count
    batch_size: Count


def optimizer_for(training: Training, steps: int) -> "keras.optimizers.Optimizer":
    """AdamW (Loshchilov and Hutter, 2019) with a cosine after a linear warm-up; steps are those of an epoch."""
    import keras

    warm_up = round(training.warm_up * steps)
    lr = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else training.lr,
        max(1, training.epochs * steps - warm_up),
        alpha=0.01,
        warmup_target=training.lr if warm_up else None,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(lr, weight_decay=training.weight_decay, global_clipnorm=CLIP)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class State:
    """All that training changes: network, its average, optimizer, history and the best weights, as one file.

    The average of the weights (Polyak and Juditsky, 1992) is what is evaluated and kept. It looks back over a tenth of
    the steps so far and at most a thousand, since a training of few steps is over before a fixed one forgets its start.
    """

    def __init__(self, detector: Detector, training: Training, steps: int):
        import keras
        import tensorflow as tf

        network = detector.network
        self.network = network
        self.average = keras.models.clone_model(network)
        give_weights(self.average, network.get_weights())
        self.optimizer = optimizer_for(training, steps)
        self.optimizer.build(network.trainable_variables)
        self.history: list[dict[str, float]] = []
        self.best = self.average.get_weights()
        of_rows = loss.of(detector.cells)
        optimizer = self.optimizer
        slower = detector.pretrained if training.trunk_lr < 1 else ()

        def step(pixels: tf.Tensor, faces: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                value = of_rows(faces, network(pixels, training=True))
            gradients = tape.gradient(value, network.trainable_variables)
            before = [tf.identity(weight) for weight in slower]
            optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
            for weight, old in zip(slower, before, strict=True):  # Adam's step is proportional to its rate
                weight.assign(old + training.trunk_lr * (weight - old))
            done = tf.cast(optimizer.iterations, tf.float32)
            decay = tf.minimum(LONGEST_AVERAGE, (1 + done) / (10 + done))
            for mean, weight in zip(self.average.weights, network.weights, strict=True):
                mean.assign(decay * mean + (1 - decay) * weight)
            return value

        shapes = [(None, *network.input_shape[1:]), (None, None, 5)]
        self.step = tf.function(
            step,
            input_signature=[
                tf.TensorSpec(shape, kind) for shape, kind in zip(shapes, (tf.uint8, tf.float32), strict=True)
            ],
        )

    def arrays(self) -> list[Any]:
        """Every variable, in an order that does not change; also the states of random layers, which are no weights."""
        return [*self.network.variables, *self.average.variables, *self.optimizer.variables]

    def save(self, file: Path, key: str) -> None:
        """Write everything; key identifies the training."""
        with replacing(file) as partial, partial.open("wb") as opened:
            np.savez(
                opened,
                key=key,
                history=np.array([list(row.values()) for row in self.history]),
                names=list(self.history[0]),
                **{f"variable{number}": one for number, one in enumerate(self.arrays())},
                **{f"best{number}": one for number, one in enumerate(self.best)},
            )

    def restore(self, file: Path, key: str) -> None:
        """Go on where a training of the same key stopped; any other file is as none."""
        try:
            with np.load(file) as saved:
                if str(saved["key"]) != key:
                    return
                names = saved["names"].tolist()
                history = [dict(zip(names, row, strict=True)) for row in saved["history"].tolist()]
                variables = [saved[f"variable{number}"] for number in range(len(self.arrays()))]
                best = [saved[f"best{number}"] for number in range(len(self.best))]
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return
        own = self.arrays()
        if [one.shape for one in variables] != [tuple(one.shape) for one in own]:
            return
        for one, value in zip(own, variables, strict=True):
            one.assign(value)
        self.history, self.best = history, best


def key_of(*parts: Any) -> str:
    """What makes a training another one: settings as text, files by their content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
    return digest.hexdigest()


def fit(
    detector: Detector,
    batches: Batches,
    steps: int,
    score: Callable[["keras.Model"], dict[str, float]],
    training: Training,
    checkpoint: Path,
    key: str,
    report: Callable[[list[dict[str, float]]], None] | None = None,
) -> list[dict[str, float]]:
    """Train a detector in place, and leave in it the averaged weights of the best epoch.

    Parameters
    ----------
    batches : callable
        Takes the number of an epoch, from 0; gives its batches: pixels (n, size, size, 3) uint8, and faces (n, m, 5)
        float32 as in `assignment`.
    steps : int
        Batches an epoch.
    score : callable
        Takes the decoded detector with averaged weights; gives what to remember of the epoch, and `map50` to choose by.
    checkpoint : Path
        Written after every epoch, read at the start, removed at the end.
    key : str
        Of this training: a checkpoint of another one is not read.
    report : callable, optional
        Called after every epoch with the rows so far.

    Returns
    -------
    list of dict
        A row an epoch: epoch, loss, and what score gave.

    Raises
    ------
    UserError
        If the loss is no number any more.
    """
    state = State(detector, training, steps)
    state.restore(checkpoint, key)
    reader = decoded(Detector(state.average, detector.cells))
    for epoch in range(len(state.history), training.epochs):
        if epoch - best_epoch(state.history) > training.patience:
            break
        losses = [float(state.step(pixels, faces)) for pixels, faces in batches(epoch)]
        if not np.isfinite(losses).all():
            raise UserError(f"training diverged in epoch {epoch + 1}: the loss is no number; try a smaller lr")
        scores = score(reader)
        state.history.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), **scores})
        if best_epoch(state.history) == epoch:
            state.best = state.average.get_weights()
        state.save(checkpoint, key)
        print(", ".join(f"{name} {value:.4g}" for name, value in state.history[-1].items()), flush=True)
        if report:
            report(state.history)
    give_weights(detector.network, state.best)
    remove(checkpoint)
    return state.history


def best_epoch(history: list[dict[str, float]]) -> int:
    """The number of the epoch with the best score so far, from 0; the first of equal ones."""
    return int(np.argmax([row["map50"] for row in history])) if history else 0
