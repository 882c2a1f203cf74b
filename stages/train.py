"""Train the network from the cut on, and keep the epoch with the lowest validation loss.

Reads the shards, the features and the backbone; writes the trained part, its weights and the whole classifier for
LiteRT, its labels in the order of its outputs, the decision rule, the learning curves and the kind of machine; and,
after every epoch, the history. The test split is not read. A head is trained without TensorFlow.
"""

import functools
import io
import json
import time
from pathlib import Path

import numpy as np

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, replacing, write_json, write_text
from facemask.core.machine import kind
from facemask.core.params import Count, Fraction, Section
from facemask.core.tables import write_csv
from facemask.data import shards
from facemask.data.archive import write_archive
from facemask.engines import litert, tflite
from facemask.evaluation import figures
from facemask.evaluation.decision import temperature, threshold_for
from facemask.experiments import measurements
from facemask.networks import fine_tuning
from facemask.networks.distributed import launch
from facemask.networks.distributed.launch import Replicas
from facemask.networks.fine_tuning import Tuned
from facemask.networks.head import DenseHead, Head
from facemask.networks.training import Training, check_convergence


class Decision(Section):
    """Calibration, and the decision rule from probabilities to a label."""

    calibrate: bool
    label: str
    recall: Fraction | None


class Settings(Training):
    """The parameters that this stage reads."""

    threads: Count
    weights: str
    train_from: str
    head: Head
    training: Replicas
    decision: Decision


def network(settings: Settings, backbone: Path, shape: tuple[int, ...], dtype: str, classes: int) -> DenseHead | Tuned:
    """The part to train, for inputs (n, *shape): by NumPy if it is a head on features, else by Keras."""
    if settings.train_from == "head":
        return DenseHead(settings.head, shape[0], classes, settings.seed)
    prepare_tensorflow(settings.seed, settings.threads)
    _, top = fine_tuning.cut(fine_tuning.load(backbone), settings.train_from)
    pretrained = settings.weights != "none"
    model = fine_tuning.build_trainable(top, shape, dtype, settings.head, classes, pretrained)
    return Tuned(model, settings.batch_size)


def rule(
    labels: np.ndarray, probabilities: np.ndarray, classes: list[str], settings: Decision
) -> dict[str, str | float | None]:
    """The decision rule, with the threshold chosen on validation."""
    threshold = None
    if settings.recall is not None:
        index = classes.index(settings.label)
        threshold = threshold_for(labels == index, probabilities[:, index], settings.recall)
    return {"label": settings.label, "recall": settings.recall, "threshold": threshold}


def npy(array: np.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    content = io.BytesIO()
    np.lib.format.write_array(content, array)
    return content.getvalue()


def main(
    pixels: Path,
    features: Path,
    backbone: Path,
    weights: Path,
    trained: Path,
    classifier: Path,
    labels: Path,
    decision: Path,
    history: Path,
    curves: Path,
    machine: Path,
) -> str:
    settings = params.load(Settings)
    classes = sorted(shards.rows(pixels, "train", ["label"]).label.unique())
    if settings.decision.label not in classes:
        raise UserError(f"decision.label: {settings.decision.label} is none of the classes ({', '.join(classes)})")
    inputs = pixels if settings.train_from == "input" else features
    train, validation = (
        (shards.array(inputs, split), shards.labels(pixels, split, classes)) for split in ("train", "validation")
    )
    part = network(settings, backbone / "backbone.keras", train[0].shape[1:], train[0].dtype.name, len(classes))
    report = functools.partial(write_csv, history)
    start = time.perf_counter()
    if isinstance(part, Tuned) and settings.training.engine == "jax":
        job = weights.with_name("training.partial")
        epochs = launch.fit(
            part.model, train, validation, settings, settings.training.replicas, settings.threads, job, report
        )
    else:
        epochs = part.fit(train, validation, settings, report)
    seconds = time.perf_counter() - start
    check_convergence(epochs, len(classes), settings.lr)
    scale = temperature(validation[1], part.predict(validation[0])) if settings.decision.calibrate else None
    if scale:
        part.divide_logits(scale)
    model = tflite.dense(part.layers) if isinstance(part, DenseHead) else litert.convert(part.model)
    probabilities = np.concatenate(list(litert.run(model, validation[0], "validation")))
    chosen = rule(validation[1], probabilities, classes, settings.decision)
    whole = model if settings.train_from == "input" else tflite.chain((backbone / "trunk.tflite").read_bytes(), model)
    # numpy.savez gives other bytes with other versions of Python.
    write_archive(weights, ((f"arr_{number}.npy", npy(array)) for number, array in enumerate(part.weights)))
    for content, path in ((model, trained), (whole, classifier)):
        with replacing(path) as partial:
            partial.write_bytes(content)
    write_text(labels, "".join(f"{label}\n" for label in classes))
    write_json(decision, chosen | {"temperature": scale})
    write_csv(history, epochs)
    write_json(machine, kind())
    figures.curves(epochs, curves)
    best = epochs.loc[epochs.val_loss.idxmin()]
    frozen = json.loads((features / "frozen.json").read_text())
    parameters = frozen["parameters"] + sum(array.size for array in part.weights)
    measurements.note(weights.read_bytes(), seconds=seconds, parameters=parameters)
    return (
        f"{len(epochs)} epochs in {seconds:.1f} s, kept epoch {best.epoch:.0f}: "
        f"validation accuracy {best.val_accuracy:.4f}"
    )


if __name__ == "__main__":
    cli.run(main)
