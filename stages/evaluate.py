"""Evaluate the model on the test split and on the external test sets.

Reads the trained part of the model, its labels and decision rule, the shards, the features, the corrupted faces and the
user's attributes of faces; writes the headline metrics, all scores with their intervals, the classification report, the
accuracy by slice and by corruption, every prediction, the curves of the test split as tables, and the figures.

Where labels were corrected, the scores are those of the corrected labels; `SPLIT_as_given` has those of the others.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import replacing, write_json
from facemask.core.params import Section, Seed
from facemask.core.tables import pieces, read_csv, write_csv
from facemask.data import shards
from facemask.data.augmentation import Augment
from facemask.data.corruptions import OCCLUSION
from facemask.data.slices import attributes, read_attributes
from facemask.engines import litert
from facemask.evaluation import figures, metrics, slice_figures
from facemask.evaluation.decision import decide
from facemask.evaluation.slices import SLICE, by_corruption, by_slice, corruption_accuracy

GRID_PHOTOS = 20


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    train_from: str
    augment: Augment


def tabulate(rows: pd.DataFrame, probabilities: np.ndarray, predicted: np.ndarray, classes: list[str]) -> pd.DataFrame:
    """A row a face: member, label, predicted, confidence, and the probability of each class."""
    table = rows[["dataset", "member", "label", "group"]].assign(
        predicted=[classes[index] for index in predicted],
        confidence=probabilities[np.arange(len(predicted)), predicted],
    )
    return table.assign(**{f"p_{label}": probabilities[:, index] for index, label in enumerate(classes)})


def draw_curves(result: dict[str, Any], tables: list[pd.DataFrame], split: str, folder: Path) -> None:
    """Confusion matrix, ROC curve, precision-recall curve and reliability diagram of a split."""
    confusion, roc, precision_recall, reliability = tables
    areas, averages = (
        {label: one[name] for label, one in result["per_class"].items() if name in one}
        for name in ("roc_auc", "average_precision")
    )
    figures.confusion_matrix(confusion, split, folder / f"{split}_confusion_matrix.png")
    figures.roc(roc, areas, split, folder / f"{split}_roc.png")
    figures.precision_recall(precision_recall, averages, split, folder / f"{split}_precision_recall.png")
    figures.reliability(reliability, split, folder / f"{split}_reliability.png")


def draw_photos(predictions: pd.DataFrame, pixels: np.ndarray, split: str, seed: int, folder: Path) -> None:
    """Random photos of a split, and the errors with the highest confidence."""
    chosen = np.random.default_rng(seed).permutation(len(predictions))[:GRID_PHOTOS]
    wrong = predictions[predictions.label != predictions.predicted]
    errors = wrong.sort_values("confidence", ascending=False, kind="stable").index[:GRID_PHOTOS]
    for name, title, indices in (
        (f"{split}_photos.png", f"{len(chosen)} random photos of {split}", chosen),
        (
            f"{split}_mistakes.png",
            f"{len(wrong)} errors on {len(predictions)} photos of {split}; the most confident first",
            errors,
        ),
    ):
        part = predictions.loc[indices]
        figures.predictions_grid(
            [pixels[index] for index in indices], part.label, part.predicted, part.confidence, title, folder / name
        )


def headlines(results: dict[str, dict[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of DVC: `metrics.HEADLINES` of the test split; balanced accuracy of each external test set."""
    test = {name: results["test"][name] for name in metrics.HEADLINES if name in results["test"]}
    return test, {name: result["balanced_accuracy"] for name, result in results.items() if name != "test"}


def main(
    trained: Path,
    labels: Path,
    decision: Path,
    pixels: Path,
    features: Path,
    corrupted: Path,
    surveyed: Path,
    user: Path,
    test: Path,
    external: Path,
    scores: Path,
    report: Path,
    slices: Path,
    corruptions: Path,
    predictions: Path,
    external_predictions: Path,
    confusion: Path,
    roc: Path,
    precision_recall: Path,
    reliability: Path,
    pictures: Path,
) -> str:
    settings = params.load(Settings)
    classes = shards.read_labels(labels)
    rule = json.loads(decision.read_text())
    trained_part = trained.read_bytes()
    inputs = pixels if settings.train_from == "input" else features
    results, given, tables, curves, parts = {}, {}, {}, {}, []
    held_out = shards.held_out(pixels)
    faces = pd.concat({split: shards.rows(pixels, split) for split in held_out})
    of_user = read_attributes(user, faces, pieces(surveyed))

    def predict(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, classes), and the class by the decision rule (n,)."""
        probabilities = np.concatenate(list(litert.run(trained_part, shards.array(folder, split), split)))
        return probabilities, decide(probabilities, classes, rule["label"], rule["threshold"])

    with replacing(pictures) as partial:
        partial.mkdir()
        for split in held_out:
            probabilities, predicted = predict(inputs, split)
            rows, truth = faces.loc[split], shards.labels(pixels, split, classes)
            results[split] = metrics.score(truth, probabilities, predicted, rows.group, classes, settings.seed)
            if not rows.given.equals(rows.label):
                labels_given = rows.given.map(classes.index).to_numpy()
                given[f"{split}_as_given"] = metrics.score(
                    labels_given, probabilities, predicted, rows.group, classes, settings.seed
                )
            tables[split] = tabulate(rows, probabilities, predicted, classes)
            measured = attributes(rows, shards.array(pixels, split)).join(of_user.loc[split])
            parts.append(by_slice(tables[split], measured, settings.seed).assign(test_set=split))
            curves[split] = {
                confusion: metrics.confusion_matrix(truth, predicted, classes),
                roc: metrics.roc(truth, probabilities, classes),
                precision_recall: metrics.precision_recall(truth, probabilities, classes),
                reliability: metrics.reliability(truth, probabilities),
            }
            draw_curves(results[split], list(curves[split].values()), split, partial)
            draw_photos(tables[split], shards.array(pixels, split), split, settings.seed, partial)
            slice_figures.slices(parts[-1], split, partial / f"{split}_slices.png")
        _, predicted = predict(corrupted, "test")
        altered = shards.rows(corrupted, "test").assign(predicted=np.array(classes, object)[predicted])
        by_kind = by_corruption(altered, list(OCCLUSION), settings.augment.unmasked, settings.seed)
        slice_figures.corruptions(by_kind, partial / "test_corruptions.png")
    of_test, of_external = headlines(results)
    of_test["corruption_accuracy"] = corruption_accuracy(by_kind)
    write_json(test, of_test)
    write_json(external, of_external)
    write_csv(scores, metrics.scores_table(results | given))
    write_csv(report, metrics.class_table(results | given))
    write_csv(slices, pd.concat([part for part in parts if len(part)] or parts)[["test_set", *SLICE]])
    write_csv(corruptions, by_kind)
    for file, table in curves["test"].items():
        write_csv(file, table)
    write_csv(predictions, tables.pop("test"))
    write_csv(external_predictions, pd.concat(tables.values()) if tables else read_csv(predictions, rows=0))
    low, high = results["test"]["interval"]["accuracy"].values()
    photos = results["test"]["photos"]
    others = "".join(f"; {name}: balanced accuracy {value:.4f}" for name, value in of_external.items())
    return f"accuracy {of_test['accuracy']:.4f} ({low:.4f} to {high:.4f}) on {photos:,} test photos{others}"


if __name__ == "__main__":
    cli.run(main)
