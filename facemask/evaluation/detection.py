"""How good a detector is: mean average precision, recall by size, and their intervals.

Truth and what was found are tables as `average_precision` describes them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.evaluation.average_precision import (
    AREAS,
    EDGES,
    RECALLS,
    coco,
    matched,
    mean_average_precision,
    mean_where_known,
    ratio,
)
from facemask.evaluation.decision import floor
from facemask.evaluation.metrics import CONFIDENCE

LARGE_ENOUGH = (20, 32)  # pixels of a face's shorter side, for which recall is reported
ROUNDS, ROUNDS_AT_ONCE = 500, 100  # of the bootstrap
FACE = "face"  # the one class of the variant that looks at places alone


def called(found: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Found boxes with the argmax class as `label` and its score as `score`; by falling score."""
    scores = found[[f"p_{label}" for label in classes]].to_numpy()
    table = found.assign(label=np.array(classes, object)[scores.argmax(axis=1)], score=scores.max(axis=1))
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def answers(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], least: float) -> pd.DataFrame:
    """The faces with the answers of a detector from a score on: `found` and `right_class`, bool; and `side`, the
    shorter one in pixels.
    """
    sure = called(found, classes)
    sure = sure[sure.score >= least].reset_index(drop=True)
    faces = matched(truth, sure)
    predicted = pd.Series(sure.label[faces >= 0].to_numpy(), faces[faces >= 0], dtype=object)
    predicted = predicted.reindex(range(len(truth))).to_numpy()
    side = np.minimum(truth.right - truth.left, truth.bottom - truth.top)
    return truth.assign(
        found=pd.notna(predicted), right_class=predicted == truth.label.to_numpy(), predicted=predicted, side=side
    )


def best_threshold(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str]) -> float:
    """The score from which on boxes are shown, of `DECIMALS` decimals: with the highest end-to-end F1."""
    sure = called(found, classes)
    faces = matched(truth, sure)
    right = (faces >= 0) & (truth.label.to_numpy()[faces] == sure.label.to_numpy()) if len(truth) else faces >= 0
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(sure) + 1) + len(truth))
    return floor(sure.score[int(f1.argmax())]) if len(sure) else 0.5


def merged(table: pd.DataFrame, merge: dict[str, str], classes: Sequence[str]) -> pd.DataFrame:
    """Truth or found boxes with some classes counted as others: of two scores that become one, the higher."""
    if "label" in table:
        return table.assign(label=table.label.replace(merge))
    scores = {label: [f"p_{one}" for one in classes if merge.get(one, one) == label] for label in classes}
    kept = {f"p_{label}": table[names].max(axis=1) for label, names in scores.items() if names}
    return table[["scene", *EDGES]].assign(**kept)


def variants(
    truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], merge: dict[str, str]
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame, list[str]]]:
    """Truth, found boxes and classes as they are, with classes merged, and with all of them one."""
    every = dict.fromkeys(classes, FACE)
    return {
        "map50": (truth, found, list(classes)),
        "map50_merged": (
            merged(truth, merge, classes),
            merged(found, merge, classes),
            [label for label in classes if label not in merge],
        ),
        "map50_faces": (
            merged(truth, every, classes),
            found[["scene", *EDGES]].assign(p_face=found[[f"p_{label}" for label in classes]].max(axis=1)),
            [FACE],
        ),
    }


def draws(groups: np.ndarray, seed: int) -> np.ndarray:
    """How often each scene is there in each bootstrap round, (rounds, scenes): groups of near-duplicates are drawn."""
    names, which = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), ROUNDS)[:, which]


def spread(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], drawn: np.ndarray) -> np.ndarray:
    """The mean average precision in each bootstrap round, (rounds,), some rounds at a time."""
    parts = np.split(drawn, range(ROUNDS_AT_ONCE, len(drawn), ROUNDS_AT_ONCE))
    return np.concatenate([mean_average_precision(truth, found, classes, part) for part in parts])


def score(
    truth: pd.DataFrame,
    found: pd.DataFrame,
    groups: np.ndarray,
    classes: Sequence[str],
    merge: dict[str, str],
    threshold: float,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All scores of a detector on one set of scenes.

    Parameters
    ----------
    groups : ndarray (scenes,)
        Equal for near-duplicates.
    merge : dict
        Classes that count as another one in `map50_merged`.
    threshold : float
        The score from which on a box is shown.

    Returns
    -------
    (scores, report)
        score, value, low, high; and a row a class: class, faces, ap50, low, high, ap50_95.
    """
    drawn, once = draws(groups, seed), np.ones((1, len(groups)), int)
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    rows: list[dict[str, Any]] = []

    def add(name: str, value: float, rounds: np.ndarray | None = None) -> None:
        low, high = (np.nan, np.nan) if rounds is None or np.isnan(value) else np.nanquantile(rounds, ends)
        rows.append({"score": name, "value": value, "low": low, "high": high})

    for name, (faces, boxes, labels) in variants(truth, found, classes, merge).items():
        add(name, mean_average_precision(faces, boxes, labels, once)[0], spread(faces, boxes, labels, drawn))
    precision = coco(truth, found, classes, len(groups))
    add("map50_95", mean_where_known(precision[..., 0]))
    for number, area in enumerate(AREAS, start=1):
        add(f"map50_{area}", mean_where_known(precision[0, ..., number]))
    answered = answers(truth, found, classes, threshold)
    for side in LARGE_ENOUGH:
        own = answered[answered.side >= side]
        counts = np.bincount(own.scene, minlength=len(groups))
        for name, column in (("recall", own.found), ("right", own.right_class)):
            hits = np.bincount(own.scene, column, minlength=len(groups))
            add(f"{name}_{side}", column.mean(), ratio(drawn @ hits, drawn @ counts))
    shown = int((called(found, classes).score >= threshold).sum())
    add("precision", answered.right_class.sum() / shown if shown else np.nan)
    report = []
    for number, label in enumerate(classes):
        own = truth[truth.label == label]
        rounds = spread(own, found, [label], drawn)
        low, high = np.nanquantile(rounds, ends) if len(own) else (np.nan, np.nan)
        of_class = {"ap50": precision[0, :, number, 0], "ap50_95": precision[:, :, number, 0]}
        means = {name: mean_where_known(values) for name, values in of_class.items()}
        report.append({"class": label, "faces": len(own), "low": low, "high": high, **means})
    return pd.DataFrame(rows), pd.DataFrame(report)[["class", "faces", "ap50", "low", "high", "ap50_95"]]


def precision_recall(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], scenes: int) -> pd.DataFrame:
    """Precision over recall at IoU 0.5, by class: columns class, recall, precision."""
    precision = coco(truth, found, classes, scenes)[0, :, :, 0]
    parts = [
        pd.DataFrame({"class": label, "recall": RECALLS, "precision": precision[:, number]})
        for number, label in enumerate(classes)
        if (precision[:, number] >= 0).any()
    ]
    return pd.concat(parts, ignore_index=True)
