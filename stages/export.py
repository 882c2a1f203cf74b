"""Quantise the converted model, and compare each variant with the evaluated model.

Reads the classifier in .tflite, its labels and decision rule, the shards and the test predictions; writes a .tflite a
variant, each from uint8 RGB pixels to probabilities and with its labels inside, beside them the labels, the decision
rule, how faces are cropped and what the test faces are like, for `facemask drift`; and a comparison. Fails if a
variant loses more accuracy than `export.max_accuracy_drop`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import replacing, write_json
from facemask.core.params import Count, Extent, Section, Seed
from facemask.core.tables import read_csv, write_csv
from facemask.data import shards
from facemask.data.faces import Survey
from facemask.data.quality import REMEMBERED, measure
from facemask.engines import litert
from facemask.engines.variants import calibration, export
from facemask.evaluation import gate
from facemask.evaluation.decision import decide
from facemask.experiments import measurements


class Export(Section):
    """Calibration of int8, and the accuracy that an exported model may lose."""

    calibration_images: Count
    max_accuracy_drop: Extent


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    survey: Survey
    export: Export


def compare(
    probabilities: np.ndarray, predicted: np.ndarray, expected: np.ndarray, original: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Compare a variant's probabilities (n, classes) and predictions (n,) on the test split with the evaluated ones."""
    accuracy = float(np.mean(predicted == labels))
    return {
        "accuracy": accuracy,
        "accuracy_drop": float(np.mean(original == labels)) - accuracy,
        "agreement": float(np.mean(predicted == original)),
        "largest_difference": float(np.abs(probabilities - expected).max()),
    }


def reference(rows: pd.DataFrame, photos: np.ndarray, evaluated: pd.DataFrame) -> pd.DataFrame:
    """What the test faces are like, and what the evaluated model says of each: the columns `REMEMBERED`."""
    quality = pd.DataFrame([measure(photo) for photo in photos]).round(2)
    size = rows[["width", "height"]].min(axis=1)
    found = evaluated[["confidence", "predicted"]].round(4).set_axis(["confidence", "label"], axis=1)
    return pd.concat([size.rename("size"), quality, found], axis=1)[list(REMEMBERED)]


def main(
    classifier: Path,
    labels: Path,
    decision: Path,
    pixels: Path,
    predictions: Path,
    tflite: Path,
    headlines: Path,
    comparison: Path,
) -> str:
    settings = params.load(Settings)
    classes = shards.read_labels(labels)
    rule = json.loads(decision.read_text())
    evaluated = read_csv(predictions)
    expected = evaluated[[f"p_{label}" for label in classes]].to_numpy()
    original = evaluated.predicted.map(classes.index).to_numpy()
    photos, truth = shards.array(pixels, "test"), shards.labels(pixels, "test", classes)
    sample = calibration(shards.array(pixels, "train"), settings.export.calibration_images, settings.seed)

    def evaluate(probabilities: np.ndarray) -> dict[str, float]:
        predicted = decide(probabilities, classes, rule["label"], rule["threshold"])
        return compare(probabilities, predicted, expected, original, truth)

    with replacing(tflite) as partial:
        partial.mkdir()
        (partial / labels.name).write_bytes(labels.read_bytes())
        (partial / decision.name).write_bytes(decision.read_bytes())
        write_json(partial / "faces.json", {"margin": settings.survey.margin, "min_size": settings.survey.min_size})
        write_csv(partial / "reference.csv", reference(shards.rows(pixels, "test"), photos, evaluated))
        files = {litert.LABELS: labels.read_bytes()}
        variants, latencies = export(classifier.read_bytes(), sample, partial, files, photos, evaluate)
        gate.check_export(variants, "accuracy", settings.export.max_accuracy_drop)
    exported = variants.set_index("variant")
    write_json(headlines, {"int8_accuracy": exported.accuracy["int8"], "int8_mb": exported.bytes["int8"] / 1e6})
    write_csv(comparison, variants)
    for variant, milliseconds in latencies.items():
        measurements.note((tflite / f"{variant}.tflite").read_bytes(), milliseconds=milliseconds)
    return "; ".join(
        f"{one.variant} {one.bytes / 1e6:.2f} MB, accuracy {one.accuracy:.4f}, {latencies[one.variant]:.2f} ms a photo"
        for one in variants.itertuples()
    )


if __name__ == "__main__":
    cli.run(main)
