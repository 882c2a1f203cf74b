"""Train what the cut leaves trainable, and keep the epoch that validation likes best.

Reads the shards, the features and the backbone; writes the whole classifier, its trained part alone
for LiteRT, its labels in the order of its outputs, how to decide from its probabilities, the history
and the curves. The test split is not read.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from facemask import networks
from facemask.core import cli, params
from facemask.core.files import prepare_tensorflow, replacing, save_model, write_csv, write_json, write_text
from facemask.core.params import Decision, Params
from facemask.data import shards
from facemask.engines import litert
from facemask.evaluation import decision, figures
from facemask.experiments import tracking

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def batches(
    inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, size: int, seed: int | None
) -> "tf.data.Dataset":
    """Batches of (inputs, labels, weights), read from the memory map as they are needed.

    Rows are shuffled anew every epoch if there is a seed, and in order otherwise.
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
    # There is nothing to tune, and an epoch's end waits until the tuner wakes up: epochs of 12 s became 21 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    return rows.batch(size).map(typed).prefetch(4).with_options(options)


def class_weights(labels: np.ndarray, balanced: bool) -> np.ndarray:
    """The weight of every row, float32: all 1, or such that each class weighs the same."""
    if not balanced:
        return np.ones(len(labels), np.float32)
    photos = np.bincount(labels)
    return (len(labels) / len(photos) / photos)[labels].astype(np.float32)


def schedule(settings: Params, steps: int) -> "tuple[float | keras.optimizers.schedules.LearningRateSchedule, list]":
    """The learning rate, and the callbacks that change it."""
    import keras

    if settings.lr_schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(settings.lr, steps * settings.epochs), []
    if settings.lr_schedule == "plateau":
        return settings.lr, [keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=max(1, settings.patience // 2))]
    return settings.lr, []


def fit(model: "keras.Model", train: tuple, validation: tuple, settings: Params) -> pd.DataFrame:
    """Train a model in place, with the weights of the best epoch restored.

    Parameters
    ----------
    train, validation : (inputs, labels)
        Arrays with a row a photo; inputs may be memory-mapped.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate.
    """
    import keras

    size = settings.batch_size
    weights = class_weights(train[1], settings.class_weights)
    lr, callbacks = schedule(settings, -(-len(train[1]) // size))
    model.compile(keras.optimizers.Adam(lr), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    rates = []
    callbacks += [
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
    return table


def calibrate(trainable: "keras.Model", inputs: np.ndarray, labels: np.ndarray, batch_size: int) -> float:
    """Divide the logits, in place, by the temperature that validation asks for; returns it."""
    found = decision.temperature(labels, networks.predict(trainable, inputs, batch_size))
    last = trainable.get_layer("probabilities")
    last.set_weights([weight / found for weight in last.get_weights()])
    return found


def rule(
    labels: np.ndarray, probabilities: np.ndarray, classes: list[str], settings: Decision
) -> dict[str, str | float | None]:
    """The rule that makes a label of probabilities, chosen on validation."""
    threshold = None
    if settings.recall is not None:
        index = classes.index(settings.label)
        threshold = decision.threshold_for(labels == index, probabilities[:, index], settings.recall)
    return {"label": settings.label, "recall": settings.recall, "threshold": threshold}


def main(
    source: Path,
    features: Path,
    backbone_file: Path,
    model_file: Path,
    trained_file: Path,
    labels_file: Path,
    decision_file: Path,
    history_file: Path,
    curves: Path,
) -> None:
    settings = params.load()
    prepare_tensorflow(settings.seed, settings.threads)
    classes = sorted(shards.rows(source, "train").label.unique())
    inputs = source if settings.train_from == "input" else features
    train, validation = (
        (shards.array(inputs, split), shards.labels(source, split, classes)) for split in ("train", "validation")
    )
    trunk, top = networks.cut(networks.load(backbone_file), settings.train_from)
    trainable = networks.build_trainable(
        top, train[0].shape[1:], train[0].dtype.name, settings.head, len(classes), settings.weights != "none"
    )
    start = time.perf_counter()
    history = fit(trainable, train, validation, settings)
    seconds = time.perf_counter() - start
    found = calibrate(trainable, *validation, settings.batch_size) if settings.decision.calibrate else None
    probabilities = networks.predict(trainable, validation[0], settings.batch_size)
    chosen = rule(validation[1], probabilities, classes, settings.decision)
    model = networks.join(trunk, trainable, settings.image_size)
    save_model(model, model_file)
    with replacing(trained_file) as partial:
        partial.write_bytes(litert.convert(litert.freeze(trainable), "float32"))
    write_text(labels_file, "".join(f"{label}\n" for label in classes))
    write_json(decision_file, chosen | {"temperature": found})
    write_csv(history_file, history)
    figures.curves(history, curves)
    best = history.loc[history.val_loss.idxmin()]
    print(f"{len(history)} epochs, {seconds:.1f} s; kept {best.epoch:.0f}: validation accuracy {best.val_accuracy:.4f}")
    tracking.record_training(
        model_file, model, settings, history, classes, seconds, [labels_file, decision_file, history_file, curves]
    )


if __name__ == "__main__":
    cli.run(main)
