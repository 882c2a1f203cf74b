"""Examine the model on the test split.

Reads the model, its labels, the shards and the features; writes the scores, every single
prediction, the classification report and the figures.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from facemask import cli, figures, params, scores, shards, tracking
from facemask.reproducible import prepare_tensorflow, replacing, write_csv, write_json

GRID_PHOTOS = 20


def predict(model_file: Path, inputs: np.ndarray, settings: params.Params) -> np.ndarray:
    """Probabilities (n, classes) by the trained part of the model; its trunk has already run."""
    prepare_tensorflow(settings.seed, settings.threads)
    import keras

    trainable = keras.saving.load_model(model_file).get_layer("trainable")
    starts = range(0, len(inputs), settings.batch_size)
    return np.concatenate([trainable.predict_on_batch(inputs[start : start + settings.batch_size]) for start in starts])


def tabulate(rows: pd.DataFrame, probabilities: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """A row a photo: member, label, predicted, confidence, and the probability of each class."""
    best = probabilities.argmax(axis=1)
    table = pd.DataFrame(
        {
            "member": rows.member,
            "label": rows.label,
            "predicted": [classes[index] for index in best],
            "confidence": probabilities.max(axis=1),
        }
    )
    return table.assign(**{f"p_{label}": probabilities[:, index] for index, label in enumerate(classes)})


def draw_photos(predictions: pd.DataFrame, pixels: np.ndarray, seed: int, folder: Path) -> None:
    """A random grid of test photos, and the mistakes of which the model was most certain."""
    chosen = np.random.default_rng(seed).permutation(len(predictions))[:GRID_PHOTOS]
    wrong = predictions[predictions.label != predictions.predicted]
    worst = wrong.sort_values("confidence", ascending=False, kind="stable").index[:GRID_PHOTOS]
    for name, title, indices in (
        ("test_photos.png", f"{len(chosen)} photos of the test split, drawn at random", chosen),
        ("mistakes.png", f"{len(wrong)} of {len(predictions)} test photos wrong; the most confident first", worst),
    ):
        part = predictions.loc[indices]
        figures.predictions_grid(
            [pixels[index] for index in indices], part.label, part.predicted, part.confidence, title, folder / name
        )


def main(
    model: Path,
    labels_file: Path,
    source: Path,
    features: Path,
    test: Path,
    predictions_file: Path,
    report: Path,
    folder: Path,
) -> None:
    settings = params.load()
    classes = labels_file.read_text(encoding="utf-8").split("\n")[:-1]
    inputs = shards.array(source if settings.train_from == "input" else features, "test")
    probabilities = predict(model, inputs, settings)
    labels = shards.labels(source, "test", classes)
    results = scores.score(labels, probabilities, classes)
    predictions = tabulate(shards.rows(source, "test"), probabilities, classes)
    table = scores.report(labels, probabilities, classes)
    write_json(test, results)
    write_csv(predictions_file, predictions)
    write_csv(report, table)
    with replacing(folder) as partial:
        partial.mkdir()
        figures.confusion_matrix(labels, probabilities.argmax(axis=1), classes, partial / "confusion_matrix.png")
        figures.roc(labels, probabilities, classes, partial / "roc.png")
        figures.precision_recall(labels, probabilities, classes, partial / "precision_recall.png")
        draw_photos(predictions, shards.array(source, "test"), settings.seed, partial)
    print(table.round(4).to_string(index=False))
    print(f"test accuracy {results['accuracy']:.4f} on {len(labels)} photos")
    tracking.record(model, "evaluate", {"test": results}, [test, predictions_file, report, folder])


if __name__ == "__main__":
    cli.run(main)
