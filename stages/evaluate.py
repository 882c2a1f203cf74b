"""Evaluate the model on the test split and on the external test sets.

Reads the model, what of it was trained, its labels, its decision rule, the shards and the features;
writes the scores, every single prediction, the classification report and the figures.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import read_csv, replacing, write_csv, write_json
from facemask.core.params import Section, Seed
from facemask.data import shards
from facemask.engines import litert
from facemask.evaluation import figures, metrics
from facemask.evaluation.decision import decide
from facemask.experiments import tracking

GRID_PHOTOS = 20


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    train_from: str


def tabulate(rows: pd.DataFrame, probabilities: np.ndarray, predicted: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """A row a face: member, label, predicted, confidence, and the probability of each class."""
    table = rows[["dataset", "member", "label", "group"]].assign(
        predicted=[classes[index] for index in predicted],
        confidence=probabilities[np.arange(len(predicted)), predicted],
    )
    return table.assign(**{f"p_{label}": probabilities[:, index] for index, label in enumerate(classes)})


def draw_photos(predictions: pd.DataFrame, pixels: np.ndarray, split: str, seed: int, folder: Path) -> None:
    """A random grid of a split's photos, and the mistakes of which the model was most certain."""
    chosen = np.random.default_rng(seed).permutation(len(predictions))[:GRID_PHOTOS]
    wrong = predictions[predictions.label != predictions.predicted]
    worst = wrong.sort_values("confidence", ascending=False, kind="stable").index[:GRID_PHOTOS]
    for name, title, indices in (
        (f"{split}_photos.png", f"{len(chosen)} photos of {split}, drawn at random", chosen),
        (
            f"{split}_mistakes.png",
            f"{len(wrong)} of {len(predictions)} photos of {split} wrong; the most confident first",
            worst,
        ),
    ):
        part = predictions.loc[indices]
        figures.predictions_grid(
            [pixels[index] for index in indices], part.label, part.predicted, part.confidence, title, folder / name
        )


def main(
    model: Path,
    trained: Path,
    labels: Path,
    decision: Path,
    pixels: Path,
    features: Path,
    test: Path,
    external: Path,
    predictions: Path,
    external_predictions: Path,
    report: Path,
    pictures: Path,
) -> None:
    settings = params.load(Settings)
    classes = shards.read_labels(labels)
    rule = json.loads(decision.read_text())
    trained_part = trained.read_bytes()
    inputs = pixels if settings.train_from == "input" else features
    results, tables = {}, {}
    with replacing(pictures) as partial:
        partial.mkdir()
        for split in shards.held_out(pixels):
            probabilities = np.concatenate(list(litert.run(trained_part, shards.array(inputs, split), split)))
            predicted = decide(probabilities, classes, rule["label"], rule["threshold"])
            rows, truth = shards.rows(pixels, split), shards.labels(pixels, split, classes)
            results[split] = metrics.score(truth, probabilities, predicted, rows.group, classes, settings.seed)
            tables[split] = tabulate(rows, probabilities, predicted, classes)
            figures.confusion_matrix(truth, predicted, classes, split, partial / f"{split}_confusion_matrix.png")
            figures.roc(truth, probabilities, classes, split, partial / f"{split}_roc.png")
            figures.precision_recall(truth, probabilities, classes, split, partial / f"{split}_precision_recall.png")
            figures.reliability(metrics.reliability(truth, probabilities), split, partial / f"{split}_reliability.png")
            draw_photos(tables[split], shards.array(pixels, split), split, settings.seed, partial)
    by_class = pd.DataFrame.from_dict(results["test"]["per_class"], orient="index").rename_axis("class").reset_index()
    others = {split: result for split, result in results.items() if split != "test"}
    write_json(test, results["test"])
    write_json(external, others)
    write_csv(predictions, tables.pop("test"))
    write_csv(external_predictions, pd.concat(tables.values()) if tables else read_csv(predictions, rows=0))
    write_csv(report, by_class)
    print(by_class.round(4).to_string(index=False))
    for split, result in results.items():
        low, high = result["interval"]["accuracy"].values()
        print(f"{split}: accuracy {result['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {result['photos']} photos")
    files = [test, external, predictions, external_predictions, report, pictures]
    tracking.record(model, "evaluate", {"test": results["test"], **others}, files)


if __name__ == "__main__":
    cli.run(main)
