"""One of the processes that train a network with Keras on JAX.

    python -m facemask.networks.distributed.worker job=FOLDER rank=N

Each holds the whole network and reads an equal share of the rows of every batch. The program is compiled for the whole
batch and XLA divides it among all devices of all processes, so a loss, a metric or the statistics of a batch
normalisation is that of the batch. All processes compute the same state, and decide alike when to stop.
"""

import functools
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from facemask.core import arrays, cli, parallel
from facemask.core.errors import UserError
from facemask.core.files import replacing
from facemask.networks import fine_tuning
from facemask.networks.training import COLUMNS, PLATEAU, Training, schedule

if TYPE_CHECKING:
    import jax
    import keras

MODEL, LABELS, JOB, TRAINED, CHECKPOINT = "model.keras", "labels.npz", "job.json", "trained.npz", "checkpoint.npz"
HISTORY = "history.npy"  # of the epochs so far
VAL_LOSS = COLUMNS.index("val_loss") - 1


class Split(NamedTuple):
    """A row a photo: memory-mapped inputs, labels, and sample weights."""

    inputs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class Trainer:
    """All that training changes: network, optimizer, history and the best weights.

    Attributes
    ----------
    history : ndarray (epochs, 5), float32
        `COLUMNS` after the first, filled up to `done`.
    best : list of ndarray
        Weights of the epoch with the lowest validation loss.
    """

    def __init__(self, model: "keras.Model", training: Training, steps: int):
        import jax
        import keras
        from jax.sharding import NamedSharding, PartitionSpec
        from keras import ops

        self.model, self.training = model, training
        self.optimizer = keras.optimizers.Adam(schedule(training, steps)[0])
        self.optimizer.build(model.trainable_variables)
        self.groups = model.trainable_variables, model.non_trainable_variables, self.optimizer.variables
        self.done, self.history = 0, np.full((training.epochs, len(COLUMNS) - 1), np.nan, np.float32)
        self.best = model.get_weights()
        distribution = keras.distribution.distribution()
        mesh = distribution.device_mesh.backend_mesh
        self.shared = NamedSharding(mesh, PartitionSpec(distribution.batch_dim_name))
        everywhere = NamedSharding(mesh, PartitionSpec())

        def loss(trained: list, rest: list, batch: list, training: bool) -> tuple:
            """The mean loss; and the sums of loss and right answers, and the statistics that the network keeps."""
            inputs, labels, weights = batch
            outputs, rest, extra = model.stateless_call(trained, rest, inputs, training=training, return_losses=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, outputs)
            mean = ops.mean(weights * losses) + sum(extra)
            right = ops.sum(weights * ops.cast(ops.argmax(outputs, axis=-1) == labels, "float32"))
            return mean, (ops.stack([mean * len(labels), right]), rest)

        # Devices take equal shares, so a batch is filled up; the compiled program leaves out what is no row of it.
        @functools.partial(jax.jit, static_argnames="rows", donate_argnames="state", out_shardings=everywhere)
        def step(state: tuple, batch: list, rows: int) -> tuple:
            trained, rest, moments = state
            gradients, (sums, rest) = jax.grad(loss, has_aux=True)(
                trained, rest, [part[:rows] for part in batch], training=True
            )
            trained, moments = self.optimizer.stateless_apply(moments, gradients, trained)
            return (trained, rest, moments), sums

        @functools.partial(jax.jit, static_argnames="rows", out_shardings=everywhere)
        def score(state: tuple, batch: list, rows: int) -> "jax.Array":
            trained, rest, _ = state
            return loss(trained, rest, [part[:rows] for part in batch], training=False)[1][0]

        self.step, self.score = step, score

    def batches(self, split: Split, order: np.ndarray) -> Iterator[tuple[list, int]]:
        """The batches of an epoch, as arrays of which this process holds its share, and their numbers of rows."""
        import jax

        def read(rows: np.ndarray) -> tuple[list, int]:
            filled = np.resize(rows, -(-len(rows) // jax.device_count()) * jax.device_count())
            own = np.split(filled, jax.process_count())[jax.process_index()]
            return [jax.make_array_from_process_local_data(self.shared, part[own]) for part in split], len(rows)

        size = self.training.batch_size
        return parallel.in_order(read, (order[start : start + size] for start in range(0, len(order), size)), 1)

    def epoch(self, train: Split, validation: Split) -> None:
        """Train on every row once, in an order that seed and epoch set, and evaluate."""
        state = tuple([variable.value for variable in group] for group in self.groups)
        order = np.random.default_rng([self.training.seed, self.done]).permutation(len(train.labels))
        trained, held_out = np.zeros(2), np.zeros(2)
        for batch, rows in self.batches(train, order):
            state, sums = self.step(state, batch, rows)
            trained += np.asarray(sums)
        for batch, rows in self.batches(validation, np.arange(len(validation.labels))):
            held_out += np.asarray(self.score(state, batch, rows))
        for group, values in zip(self.groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        means = [
            sums / (len(split.labels), split.weights.sum(dtype=np.float64))
            for sums, split in ((trained, train), (held_out, validation))
        ]
        self.history[self.done, :-1] = np.concatenate(means)
        self.done += 1
        if self.waited == 0:
            self.best = self.model.get_weights()
        elif self.training.lr_schedule == "plateau" and self.waited % self.training.plateau_patience == 0:
            self.optimizer.learning_rate = float(self.optimizer.learning_rate) * PLATEAU
        self.history[self.done - 1, -1] = float(self.optimizer.learning_rate)

    @property
    def waited(self) -> int:
        """The epochs since the one with the lowest validation loss."""
        return self.done - 1 - int(np.argmin(self.history[: self.done, VAL_LOSS]))

    @property
    def ended(self) -> bool:
        """Whether there are no epochs or no patience left, or a loss is no number."""
        return self.done > 0 and bool(
            self.done == self.training.epochs
            or self.waited >= self.training.patience
            or not np.isfinite(self.history[: self.done]).all()
        )

    def arrays(self) -> list[np.ndarray]:
        """Everything, in an order and with shapes that do not change."""
        variables = [np.asarray(variable) for group in self.groups for variable in group]
        return [np.int32(self.done), self.history, *variables, *self.best]

    def take(self, arrays: list[np.ndarray]) -> None:
        """Go on from what `arrays` gave."""
        variables = [variable for group in self.groups for variable in group]
        self.done, self.history = int(arrays[0]), np.array(arrays[1])
        for variable, value in zip(variables, arrays[2:], strict=False):
            variable.assign(value)
        self.best = arrays[2 + len(variables) :]


def save(file: Path, key: str, arrays: list[np.ndarray]) -> None:
    """Write a checkpoint; key identifies the training."""
    with replacing(file) as partial, partial.open("wb") as opened:
        np.savez(opened, *arrays, key=key)


def restored(file: Path, key: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays of a checkpoint of the same key; of any other file, or none, those given."""
    try:
        with np.load(file) as saved:
            return [saved[f"arr_{number}"] for number in range(len(arrays))] if str(saved["key"]) == key else arrays
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return arrays


def main(job: Path, rank: int) -> None:
    # The launcher holds the other end of standard input: without it there is nobody to train for.
    threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
    import jax
    import keras
    from jax.experimental import multihost_utils

    described: dict[str, Any] = json.loads((job / JOB).read_text())
    training, key = Training(**described["training"]), described["key"]
    keras.utils.set_random_seed(training.seed)
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        number = os.environ.get("JAX_PROCESS_ID", "")
        if not number.isdigit():
            raise UserError("JAX_PROCESS_ID is not set; give every process its number, from 0")
        keras.distribution.initialize(address, int(os.environ["JAX_NUM_PROCESSES"]), int(number))
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    try:
        multihost_utils.assert_equal(np.frombuffer(bytes.fromhex(key), np.uint8))
    except AssertionError:
        raise UserError("the processes have different data or parameters; start all from the same commit") from None
    with np.load(job / LABELS) as labels:
        train, validation = (
            Split(arrays.joined(described["inputs"][split]), labels[split], labels[f"{split}_weights"])
            for split in ("train", "validation")
        )
    trainer = Trainer(fine_tuning.load(job / MODEL), training, -(-len(train.labels) // training.batch_size))
    # Only the first process need have a checkpoint: on other machines there may be none, or an older one.
    trainer.take(multihost_utils.broadcast_one_to_all(restored(job / CHECKPOINT, key, trainer.arrays())))
    while not trainer.ended:
        trainer.epoch(train, validation)
        if jax.process_index() == 0:
            save(job / CHECKPOINT, key, trainer.arrays())
        if rank == 0:
            row = zip(COLUMNS[1:], trainer.history[trainer.done - 1], strict=True)
            values = ", ".join(f"{name} {value:.4g}" for name, value in row)
            print(f"epoch {trainer.done} of {training.epochs}: {values}", flush=True)
            with replacing(job / HISTORY) as partial, partial.open("wb") as opened:
                np.save(opened, trainer.history[: trainer.done])
    if rank == 0:
        weights = {f"weight{number}": array for number, array in enumerate(trainer.best)}
        with replacing(job / TRAINED) as partial, partial.open("wb") as opened:
            np.savez(opened, history=trainer.history[: trainer.done], **weights)


if __name__ == "__main__":
    cli.run(main)
