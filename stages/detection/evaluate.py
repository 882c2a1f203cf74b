"""Evaluate the detector on the test scenes and on the external test sets.

Reads the detector, its labels, the score from which on a box is shown, and the shards; writes the headlines, all
scores with their intervals, average precision by class, every box that is shown, precision over recall, and pictures:
random scenes, the largest faces that were missed, the false alarms of which the detector was highest-scoring.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import replacing, write_json
from facemask.core.params import Section, Seed
from facemask.core.tables import write_csv
from facemask.data import scenes, shards
from facemask.data.boxes import Box
from facemask.data.detections import boxes_of
from facemask.engines import litert
from facemask.evaluation import detection, detection_figures
from facemask.evaluation.average_precision import MIN_SCORE, matched

HEADLINES = ("map50", "map50_95", "map50_merged", "map50_faces", "recall_32", "right_32")
SHOWN_SCENES, SHOWN_CROPS, CROP = 12, 16, 96
MARGIN = 0.4  # of a box's size, shown about it


class Evaluation(Section):
    """Which classes to merge for a second score."""

    merge: dict[str, str]


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    evaluation: Evaluation


def check_merge(merge: dict[str, str], classes: list[str]) -> None:
    """Refuse to merge what are no classes, or a class with which another is merged.

    Raises
    ------
    UserError
        Naming the class.
    """
    if unknown := {*merge, *merge.values()} - {*classes}:
        raise UserError(f"evaluation.merge: {min(unknown)} is none of the classes ({', '.join(classes)})")
    if twice := {*merge} & {*merge.values()}:
        raise UserError(f"evaluation.merge: {min(twice)} counts as another class, and another as it; let each do one")


def judged(truth: pd.DataFrame, found: pd.DataFrame, classes: list[str], threshold: float) -> pd.DataFrame:
    """The boxes that are shown, by falling score, with the label of the face each is of (empty: of none)."""
    sure = detection.called(found, classes)
    sure = sure[sure.score >= threshold].reset_index(drop=True)
    faces = matched(truth, sure)
    labels = np.append(truth.label.to_numpy(object), "")[faces]
    return sure.assign(truth=labels, right_class=labels == sure.label.to_numpy(object))


def crop(square: np.ndarray, box: Box) -> np.ndarray:
    """A box with what is about it, cut out of a square."""
    left, top, right, bottom = box.widened(MARGIN, len(square), len(square))
    left, top = min(left, len(square) - 1), min(top, len(square) - 1)
    return square[top : max(bottom, top + 1), left : max(right, left + 1)]


def draw(
    squares: np.ndarray, scales: np.ndarray, truth: pd.DataFrame, shown: pd.DataFrame, missed: pd.DataFrame,
    split: str, seed: int, folder: Path,
) -> None:  # fmt: skip
    """The three pictures of a split."""

    def in_square(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**table[list(Box._fields)].mul(scales[table.scene], axis=0))

    truth, shown, missed = map(in_square, (truth, shown, missed))
    chosen = np.random.default_rng(seed).permutation(len(squares))[:SHOWN_SCENES]
    marked, boxes = ([table[table.scene == scene] for scene in chosen] for table in (truth, shown))
    title = f"{len(chosen)} scenes of {split}, drawn at random; dotted: marked faces"
    pixels = [squares[scene] for scene in chosen]
    detection_figures.predictions(pixels, marked, boxes, title, folder / f"{split}_scenes.png")
    wrong = shown[~shown.right_class]
    for name, table, title, caption in (
        ("misses", missed.sort_values("side", ascending=False, kind="stable"),
         f"{len(missed)} of {len(truth)} faces of {split} not found; the largest first",
         lambda face: f"{face.label}, {face.side} pixels"),
        ("false_alarms", wrong,
         f"{len(wrong)} of {len(shown)} boxes of {split} wrong; by falling score",
         lambda box: f"{box.label} {box.score:.2f}\ntrue: {box.truth or 'no face'}"),
    ):  # fmt: skip
        rows = list(table.head(SHOWN_CROPS).itertuples())
        pieces = [crop(squares[row.scene], Box(*(round(getattr(row, edge)) for edge in Box._fields))) for row in rows]
        detection_figures.crops(pieces, [caption(row) for row in rows], title, folder / f"{split}_{name}.png")


def main(
    parameters: Path,
    trained: Path,
    labels: Path,
    threshold: Path,
    pixels: Path,
    test: Path,
    scores: Path,
    report: Path,
    predictions: Path,
    precision_recall: Path,
    pictures: Path,
) -> str:
    settings = params.load(Settings, parameters)
    classes, least = shards.read_labels(labels), json.loads(threshold.read_text())["score"]
    merge = settings.evaluation.merge
    check_merge(merge, classes)
    model, curves, count = trained.read_bytes(), None, 0
    results: dict[str, list[pd.DataFrame]] = {"scores": [], "report": [], "shown": []}
    with replacing(pictures) as partial:
        partial.mkdir()
        for split in shards.held_out(pixels):
            squares, table = shards.array(pixels, split), shards.rows(pixels, split)
            truth, scales = scenes.read_faces(pixels, split), table.scale.to_numpy()
            outputs = np.concatenate(list(litert.run(model, squares, split)))
            found = boxes_of(outputs, scales, squares.shape[1], classes, MIN_SCORE)
            of_all, of_class = detection.score(
                truth, found, table.group.to_numpy(), classes, merge, least, settings.seed
            )
            shown = judged(truth, found, classes, least)
            answers = detection.answers(truth, found, classes, least)
            draw(squares, scales, truth, shown, answers[~answers.found], split, settings.seed, partial)
            places = table.iloc[shown.scene][["dataset", "member"]].reset_index(drop=True)
            renamed = shown.rename(columns={"label": "predicted", "truth": "label", "score": "confidence"})
            for name, one in (("scores", of_all), ("report", of_class), ("shown", places.join(renamed))):
                results[name].append(one.assign(test_set=split))
            if split == "test":
                count = len(squares)
                curves = detection.precision_recall(truth, found, classes, count)
    all_scores, all_classes, all_shown = (pd.concat(tables, ignore_index=True) for tables in results.values())
    # What no test scene has, such as large faces, has no score.
    all_scores, all_classes = all_scores.dropna(subset="value"), all_classes[all_classes.faces > 0]
    of_test = all_scores[all_scores.test_set == "test"].set_index("score").value
    write_json(test, {name: float(of_test[name]) for name in HEADLINES if name in of_test})
    write_csv(scores, all_scores[["test_set", "score", "value", "low", "high"]])
    write_csv(report, all_classes[["test_set", "class", "faces", "ap50", "low", "high", "ap50_95"]])
    columns = ["test_set", "dataset", "member", *Box._fields, "label", "predicted", "confidence"]
    write_csv(predictions, all_shown[[*columns, *(f"p_{label}" for label in classes)]])
    write_csv(precision_recall, curves)
    first = all_scores.iloc[0]
    return f"mAP50 {first.value:.4f} ({first.low:.4f} to {first.high:.4f}) on {count:,} scenes"


if __name__ == "__main__":
    cli.run(main)
