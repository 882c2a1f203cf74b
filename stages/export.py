"""Turn the model into files for phones, cameras and laptops, and hold them against it.

Reads the model, its labels and decision rule, the shards and the test predictions; writes a
self-contained .tflite a variant, each from raw uint8 RGB pixels to probabilities, with the labels,
the rule, the margin and the least side of the faces beside them, and how each compares. Fails if a variant loses
more accuracy than params allows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask import networks
from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, replacing, write_json
from facemask.data import shards
from facemask.engines import litert
from facemask.evaluation.decision import decide
from facemask.experiments import tracking


def calibration(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Training photos drawn at random, in the order they lie in the shard."""
    return pixels[np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])]


def compare(
    probabilities: np.ndarray, predicted: np.ndarray, expected: np.ndarray, original: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Hold a variant's probabilities (n, classes) and predictions (n,) on the test split against the evaluated ones."""
    accuracy = float(np.mean(predicted == labels))
    return {
        "accuracy": accuracy,
        "accuracy_drop": float(np.mean(original == labels)) - accuracy,
        "agreement": float(np.mean(predicted == original)),
        "largest_difference": float(np.abs(probabilities - expected).max()),
    }


def gate(results: dict[str, dict[str, Any]], allowed: float) -> None:
    """Refuse a variant that lost too much.

    Raises
    ------
    UserError
        Naming the variants and their losses.
    """
    failed = {name: r["accuracy_drop"] for name, r in results.items() if r["accuracy_drop"] > allowed}
    if failed:
        losses = ", ".join(f"{name} loses {drop:.4f}" for name, drop in failed.items())
        raise UserError(f"{losses} of test accuracy; export.max_accuracy_drop allows {allowed}")


def main(
    model_file: Path,
    labels_file: Path,
    decision_file: Path,
    source: Path,
    predictions_file: Path,
    folder: Path,
    comparison: Path,
) -> None:
    settings = params.load()
    prepare_tensorflow(settings.seed, settings.threads)
    model = networks.load(model_file)
    classes = shards.read_labels(labels_file)
    rule = json.loads(decision_file.read_text())
    evaluated = pd.read_csv(predictions_file)
    expected = evaluated[[f"p_{label}" for label in classes]].to_numpy()
    original = evaluated.predicted.map(classes.index).to_numpy()
    pixels, labels = shards.array(source, "test"), shards.labels(source, "test", classes)
    photos = calibration(shards.array(source, "train"), settings.export.calibration_images, settings.seed)
    frozen, results, latencies = litert.freeze(model), {}, {}
    with replacing(folder) as partial:
        partial.mkdir()
        (partial / labels_file.name).write_bytes(labels_file.read_bytes())
        write_json(
            partial / decision_file.name,
            rule | {"margin": settings.survey.margin, "least_side": settings.survey.min_size},
        )
        for variant in litert.VARIANTS:
            converted = litert.convert(frozen, variant, photos)
            (partial / f"{variant}.tflite").write_bytes(converted)
            probabilities = np.concatenate(list(litert.run(converted, pixels, variant)))
            predicted = decide(probabilities, classes, rule["label"], rule["threshold"])
            compared = compare(probabilities, predicted, expected, original, labels)
            results[variant] = compared | {"bytes": len(converted)}
            latencies[variant] = litert.latency(converted, pixels[0])
        gate(results, settings.export.max_accuracy_drop)
    write_json(comparison, results)
    print(pd.DataFrame(results).T.assign(milliseconds=latencies).to_string())
    measured = {name: {**result, "milliseconds": latencies[name]} for name, result in results.items()}
    tracking.record(model_file, "export", {"export": measured}, [folder, comparison])


if __name__ == "__main__":
    cli.run(main)
