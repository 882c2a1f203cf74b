"""Training with Keras: early stopping on the validation loss, and what a training with NumPy shares with it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from facemask.core.errors import UserError
from facemask.core.params import Count, Float, Section, Seed

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
DIVERGED = 10  # times the loss of random guessing, in the best epoch
PLATEAU = 0.3  # the factor of the learning rate

Photos = tuple[np.ndarray, np.ndarray]  # inputs, which may be memory-mapped, and labels, int32: a row a photo
Report = Callable[[pd.DataFrame], None]  # called after every epoch with the history so far, which has `COLUMNS`


class Training(Section):
    """How the network is trained."""

    seed: Seed
    lr: Annotated[Float, Field(gt=0, le=1)]
    lr_schedule: Literal["constant", "cosine", "plateau"]
    epochs: Count
    patience: Count
    batch_size: Count
    class_weights: bool

    @property
    def plateau_patience(self) -> int:
        """The epochs without a better validation loss after which the learning rate falls."""
        return max(1, self.patience // 2)


def class_weights(labels: np.ndarray, balanced: bool) -> np.ndarray:
    """Sample weights, float32: all 1, or balanced, so that every class has the same weight."""
    if not balanced:
        return np.ones(len(labels), np.float32)
    photos = np.maximum(np.bincount(labels), 1)
    return (len(labels) / len(photos) / photos)[labels].astype(np.float32)


def check_convergence(history: pd.DataFrame, classes: int, lr: float) -> None:
    """Check that a training did not diverge.

    Raises
    ------
    UserError
        If a loss is not finite, or the best epoch is far worse than random guessing.
    """
    guessing = np.log(classes)
    if not np.isfinite(history[["loss", "val_loss"]]).all(axis=None) or history.val_loss.min() > DIVERGED * guessing:
        losses = ", ".join(f"{loss:.3g}" for loss in history.val_loss)
        raise UserError(
            f"training diverged: the validation loss was {losses}, random guessing has {guessing:.3g}; "
            f"lr is {lr:g}, try a smaller one: dvc exp run -S lr={lr / 10:g}"
        )


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


def schedule(training: Training, steps: int) -> "tuple[float | keras.optimizers.schedules.LearningRateSchedule, list]":
    """The learning rate, and the callbacks that change it."""
    import keras

    if training.lr_schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(training.lr, steps * training.epochs), []
    if training.lr_schedule == "plateau":
        return training.lr, [
            keras.callbacks.ReduceLROnPlateau(factor=PLATEAU, patience=training.plateau_patience, min_delta=0)
        ]
    return training.lr, []


def fit(
    model: "keras.Model", train: Photos, validation: Photos, training: Training, report: Report | None = None
) -> pd.DataFrame:
    """Train a model in place, with early stopping, and restore the weights of the best epoch.

    Returns
    -------
    DataFrame
        A row an epoch, with `COLUMNS`.
    """
    import keras

    size = training.batch_size
    lr, callbacks = schedule(training, -(-len(train[1]) // size))
    model.compile(keras.optimizers.Adam(lr), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    rows = []

    def end_epoch(epoch: int, scores: dict[str, float]) -> None:
        rows.append({**scores, "epoch": epoch + 1, "learning_rate": float(model.optimizer.learning_rate)})
        if report:
            report(pd.DataFrame(rows)[COLUMNS])

    callbacks += [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=end_epoch),
        keras.callbacks.EarlyStopping("val_loss", patience=training.patience, restore_best_weights=True),
    ]
    of_train, of_validation = (class_weights(labels, training.class_weights) for _, labels in (train, validation))
    model.fit(
        batches(*train, of_train, size, training.seed),
        validation_data=batches(*validation, of_validation, size, None),
        epochs=training.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return pd.DataFrame(rows)[COLUMNS]
