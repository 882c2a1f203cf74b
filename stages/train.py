"""Train the network from the cut on, and keep the epoch with the lowest validation loss.

Reads the shards, the features and the backbone; writes the whole classifier, the same and its trained part for LiteRT,
its labels in the order of its outputs, the decision rule, the history and the learning curves. The test split is not
read.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, replacing, save_model, write_csv, write_json, write_text
from facemask.core.params import Count, Float, Fraction, Section, Seed, Side
from facemask.data import shards
from facemask.engines import litert
from facemask.evaluation import figures
from facemask.evaluation.decision import temperature, threshold_for
from facemask.experiments import measurements
from facemask.networks import fine_tuning
from facemask.networks.fine_tuning import Head

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


DIVERGED = 10  # times the loss of random guessing, in the best epoch
STEPS_A_CALL = 16  # of a head: a step takes less time than the call from Python


class Decision(Section):
    """Calibration, and the decision rule from probabilities to a label."""

    calibrate: bool
    label: str
    recall: Fraction | None


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    threads: Count
    image_size: Side
    weights: str
    train_from: str
    head: Head
    lr: Annotated[Float, Field(gt=0, le=1)]
    lr_schedule: Literal["constant", "cosine", "plateau"]
    epochs: Count
    patience: Count
    batch_size: Count
    class_weights: bool
    decision: Decision


def batches(
    inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, size: int, seed: int | None
) -> "tf.data.Dataset":
    """Batches of (inputs, labels, weights), read from the memory map as they are needed.

    Rows are reshuffled every epoch if there is a seed, else in order.
    """
    import tensorflow as tf

    def fetch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return inputs[rows], labels[rows], weights[rows]

    def typed(rows: "tf.Tensor") -> tuple["tf.Tensor", ...]:
        values = tf.numpy_function(fetch, [rows], (inputs.dtype, labels.dtype, weights.dtype))
        for value, shape in zip(values, ((None, *inputs.shape[1:]), (None,), (None,)), strict=True):
            value.set_shape(shape)
        return tuple(values)

    rows = tf.data.Dataset.range(len(labels))
    if seed is not None:
        rows = rows.shuffle(len(labels), seed=seed, reshuffle_each_iteration=True)
    # With autotune, the end of an epoch waits for the tuning thread: epochs of 12 s became 21 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    return rows.batch(size).map(typed).prefetch(4).with_options(options)


def class_weights(labels: np.ndarray, balanced: bool) -> np.ndarray:
    """Sample weights, float32: all 1, or balanced, so that every class has the same weight."""
    if not balanced:
        return np.ones(len(labels), np.float32)
    photos = np.bincount(labels)
    return (len(labels) / len(photos) / photos)[labels].astype(np.float32)


def schedule(settings: Settings, steps: int) -> "tuple[float | keras.optimizers.schedules.LearningRateSchedule, list]":
    """The learning rate, and the callbacks that change it."""
    import keras

    if settings.lr_schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(settings.lr, steps * settings.epochs), []
    if settings.lr_schedule == "plateau":
        return settings.lr, [keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=max(1, settings.patience // 2))]
    return settings.lr, []


def fit(model: "keras.Model", train: tuple, validation: tuple, settings: Settings) -> pd.DataFrame:
    """Train a model in place, with early stopping, and restore the weights of the best epoch.

    Parameters
    ----------
    train, validation : (inputs, labels)
        Arrays with a row a photo; inputs may be memory-mapped.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate.

    Raises
    ------
    UserError
        If a loss is not finite, or the best epoch is far worse than random guessing.
    """
    import keras

    size = settings.batch_size
    weights = class_weights(train[1], settings.class_weights)
    lr, callbacks = schedule(settings, -(-len(train[1]) // size))
    model.compile(
        keras.optimizers.Adam(lr),
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
        steps_per_execution=STEPS_A_CALL if train[0].ndim == 2 else 1,
    )
    rates = []
    callbacks += [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: rates.append(float(model.optimizer.learning_rate))),
        keras.callbacks.EarlyStopping("val_loss", patience=settings.patience, restore_best_weights=True),
    ]
    history = model.fit(
        batches(*train, weights, size, settings.seed),
        validation_data=batches(*validation, class_weights(validation[1], settings.class_weights), size, None),
        epochs=settings.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    columns = ["loss", "accuracy", "val_loss", "val_accuracy"]
    table = pd.DataFrame(history)[columns].assign(learning_rate=rates)
    table.insert(0, "epoch", range(1, len(table) + 1))
    guessing = np.log(len(np.unique(train[1])))
    if not np.isfinite(table[["loss", "val_loss"]]).all(axis=None) or table.val_loss.min() > DIVERGED * guessing:
        losses = ", ".join(f"{loss:.3g}" for loss in table.val_loss)
        raise UserError(
            f"training diverged: the validation loss was {losses}, random guessing has {guessing:.3g}; "
            f"lr is {settings.lr:g}, try a smaller one: dvc exp run -S lr={settings.lr / 10:g}"
        )
    return table


def calibrate(trainable: "keras.Model", inputs: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
    """Temperature scaling: divide the logits, in place, by the temperature fitted on validation; return it."""
    scale = temperature(labels, fine_tuning.predict(trainable, inputs, batch_size))
    last = trainable.get_layer("probabilities")
    last.set_weights([weight / scale for weight in last.get_weights()])
    return scale


def rule(
    labels: np.ndarray, probabilities: np.ndarray, classes: list[str], settings: Decision
) -> dict[str, str | float | None]:
    """The decision rule, with the threshold chosen on validation."""
    threshold = None
    if settings.recall is not None:
        index = classes.index(settings.label)
        threshold = threshold_for(labels == index, probabilities[:, index], settings.recall)
    return {"label": settings.label, "recall": settings.recall, "threshold": threshold}


def main(
    pixels: Path,
    features: Path,
    backbone: Path,
    model: Path,
    trained: Path,
    classifier: Path,
    labels: Path,
    decision: Path,
    history: Path,
    curves: Path,
) -> str:
    settings = params.load(Settings)
    prepare_tensorflow(settings.seed, settings.threads)
    classes = sorted(shards.rows(pixels, "train").label.unique())
    inputs = pixels if settings.train_from == "input" else features
    train, validation = (
        (shards.array(inputs, split), shards.labels(pixels, split, classes)) for split in ("train", "validation")
    )
    trunk, top = fine_tuning.cut(fine_tuning.load(backbone), settings.train_from)
    trainable = fine_tuning.build_trainable(
        top, train[0].shape[1:], train[0].dtype.name, settings.head, len(classes), settings.weights != "none"
    )
    start = time.perf_counter()
    epochs = fit(trainable, train, validation, settings)
    seconds = time.perf_counter() - start
    scale = calibrate(trainable, *validation, settings.batch_size) if settings.decision.calibrate else None
    probabilities = fine_tuning.predict(trainable, validation[0], settings.batch_size)
    chosen = rule(validation[1], probabilities, classes, settings.decision)
    whole = fine_tuning.join(trunk, trainable, settings.image_size)
    save_model(whole, model)
    for network, file in ((trainable, trained), (whole, classifier)):
        with replacing(file) as partial:
            partial.write_bytes(litert.convert(network))
    write_text(labels, "".join(f"{label}\n" for label in classes))
    write_json(decision, chosen | {"temperature": scale})
    write_csv(history, epochs)
    figures.curves(epochs, curves)
    best = epochs.loc[epochs.val_loss.idxmin()]
    measurements.note(model.read_bytes(), seconds=seconds, parameters=whole.count_params())
    return (
        f"{len(epochs)} epochs in {seconds:.1f} s, kept epoch {best.epoch:.0f}: "
        f"validation accuracy {best.val_accuracy:.4f}"
    )


if __name__ == "__main__":
    cli.run(main)
