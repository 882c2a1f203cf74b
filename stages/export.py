"""Convert the model to .tflite, and compare each variant with the evaluated model.

Reads the model, its labels and decision rule, the shards and the test predictions; writes a .tflite a variant, each
from uint8 RGB pixels to probabilities and with its labels inside, beside them the labels, the decision rule and how
faces are cropped, and a comparison. Fails if a variant loses more accuracy than `export.max_accuracy_drop`.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import prepare_tensorflow, read_csv, replacing, write_csv, write_json
from facemask.core.params import Count, Extent, Section, Seed
from facemask.data import shards
from facemask.data.faces import Survey
from facemask.engines import litert
from facemask.evaluation import gate
from facemask.evaluation.decision import decide
from facemask.experiments import measurements
from facemask.networks import fine_tuning


class Export(Section):
    """Calibration of int8, and the accuracy that an exported model may lose."""

    calibration_images: Count
    max_accuracy_drop: Extent


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    threads: Count
    survey: Survey
    export: Export


def calibration(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Random training photos, in the order of the shard."""
    return pixels[np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])]


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


def main(
    model: Path,
    labels: Path,
    decision: Path,
    pixels: Path,
    predictions: Path,
    tflite: Path,
    headlines: Path,
    comparison: Path,
) -> str:
    settings = params.load(Settings)
    prepare_tensorflow(settings.seed, settings.threads)
    classes = shards.read_labels(labels)
    rule = json.loads(decision.read_text())
    evaluated = read_csv(predictions)
    expected = evaluated[[f"p_{label}" for label in classes]].to_numpy()
    original = evaluated.predicted.map(classes.index).to_numpy()
    photos, truth = shards.array(pixels, "test"), shards.labels(pixels, "test", classes)
    sample = calibration(shards.array(pixels, "train"), settings.export.calibration_images, settings.seed)
    frozen, results, latencies = litert.freeze(fine_tuning.load(model)), {}, {}
    with replacing(tflite) as partial:
        partial.mkdir()
        (partial / labels.name).write_bytes(labels.read_bytes())
        (partial / decision.name).write_bytes(decision.read_bytes())
        write_json(partial / "faces.json", {"margin": settings.survey.margin, "min_size": settings.survey.min_size})
        for variant in litert.VARIANTS:
            converted = litert.with_labels(litert.convert(frozen, variant, sample), labels.read_bytes())
            (partial / f"{variant}.tflite").write_bytes(converted)
            probabilities = np.concatenate(list(litert.run(converted, photos, variant)))
            predicted = decide(probabilities, classes, rule["label"], rule["threshold"])
            compared = compare(probabilities, predicted, expected, original, truth)
            results[variant] = compared | {"bytes": len(converted)}
            latencies[variant] = litert.latency(converted, photos[0])
        variants = pd.DataFrame.from_dict(results, orient="index").rename_axis("variant").reset_index()
        gate.check_export(variants, settings.export.max_accuracy_drop)
    write_json(headlines, {"int8_accuracy": results["int8"]["accuracy"], "int8_mb": results["int8"]["bytes"] / 1e6})
    write_csv(comparison, variants)
    for variant, milliseconds in latencies.items():
        measurements.note((tflite / f"{variant}.tflite").read_bytes(), milliseconds=milliseconds)
    return "; ".join(
        f"{name} {one['bytes'] / 1e6:.2f} MB, accuracy {one['accuracy']:.4f}, {latencies[name]:.2f} ms a photo"
        for name, one in results.items()
    )


if __name__ == "__main__":
    cli.run(main)
