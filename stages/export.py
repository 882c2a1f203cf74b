"""Turn the model into files for phones, cameras and laptops, and hold them against it.

Reads the model, its labels and decision rule, the shards and the test predictions; writes a
self-contained .tflite a variant, each from raw uint8 RGB pixels to probabilities, and how each
compares. Fails if a variant loses more accuracy than params allows.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask import cli, params, scores, shards, tflite, tracking
from facemask.errors import UserError
from facemask.reproducible import prepare_tensorflow, replacing, write_json


def calibration(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Training photos drawn at random, in the order they lie in the shard."""
    return pixels[np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])]


def compare(
    file: Path, pixels: np.ndarray, labels: np.ndarray, expected: np.ndarray, decide: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """Hold a .tflite file against the Keras model's probabilities (n, classes) on the test split."""
    probabilities = np.concatenate(list(tflite.run(file, pixels, file.stem)))
    predicted, original = decide(probabilities), decide(expected)
    accuracy = float(np.mean(predicted == labels))
    return {
        "accuracy": accuracy,
        "accuracy_drop": float(np.mean(original == labels)) - accuracy,
        "agreement": float(np.mean(predicted == original)),
        "largest_difference": float(np.abs(probabilities - expected).max()),
        "bytes": file.stat().st_size,
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
    import keras

    model = keras.saving.load_model(model_file)
    classes = shards.read_labels(labels_file)
    rule = json.loads(decision_file.read_text())
    decide = functools.partial(scores.decide, classes=classes, label=rule["label"], threshold=rule["threshold"])
    expected = pd.read_csv(predictions_file)[[f"p_{label}" for label in classes]].to_numpy()
    pixels, labels = shards.array(source, "test"), shards.labels(source, "test", classes)
    photos = calibration(shards.array(source, "train"), settings.export.calibration_images, settings.seed)
    results, latencies = {}, {}
    with replacing(folder) as partial:
        partial.mkdir()
        for file in (labels_file, decision_file):
            (partial / file.name).write_bytes(file.read_bytes())
        for variant in tflite.VARIANTS:
            file = partial / f"{variant}.tflite"
            file.write_bytes(tflite.convert(model, variant, photos))
            results[variant] = compare(file, pixels, labels, expected, decide)
            latencies[variant] = tflite.latency(file, pixels[0])
        gate(results, settings.export.max_accuracy_drop)
    write_json(comparison, results)
    print(pd.DataFrame(results).T.assign(milliseconds=latencies).to_string())
    measured = {name: {**result, "milliseconds": latencies[name]} for name, result in results.items()}
    tracking.record(model_file, "export", {"export": measured}, [folder, comparison])


if __name__ == "__main__":
    cli.run(main)
