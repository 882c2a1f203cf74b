"""Average precision of detectors: faces and boxes matched by IoU, as COCO does.

Truth is a table with a row a face: scene, label, left, top, right, bottom, in pixels of the photo. What was found is a
table with a row a box: the same without the label, and a score `p_CLASS` for every class. Scenes are numbered from 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from facemask.core.iou import box_iou

EDGES = ["left", "top", "right", "bottom"]
MIN_IOU = 0.5
RECALLS = np.linspace(0, 1, 101)  # at which COCO's average precision looks at the precision
MIN_SCORE = 0.02  # of a class that is listed for a box
MAX_BOXES = 300  # a scene; COCO's 100 is less than some crowds have faces
AREAS = ("small", "medium", "large")  # COCO's: beneath 32 x 32 pixels, beneath 96 x 96, larger


def by_class(found: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Found boxes with a row for every class that one may be of: scene, edges, label, score; by falling score."""
    parts = [
        found.loc[found[f"p_{label}"] >= MIN_SCORE, ["scene", *EDGES]].assign(label=label, score=found[f"p_{label}"])
        for label in classes
    ]
    return pd.concat(parts).sort_values("score", ascending=False, kind="stable", ignore_index=True)


def matched(truth: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
    """Match boxes to faces as COCO does: by falling score, each takes the free face with the highest IoU of at least
    `MIN_IOU`.

    Parameters
    ----------
    found : DataFrame
        The highest-scoring first.

    Returns
    -------
    ndarray (found,), int
        Positions in truth; -1 of a false alarm.
    """
    faces = np.full(len(found), -1)
    positions = {scene: np.asarray(rows) for scene, rows in truth.groupby("scene").indices.items()}
    corners, boxes = truth[EDGES].to_numpy(float), found[EDGES].to_numpy(float)
    for scene, rows in found.groupby("scene").indices.items():
        if scene not in positions:
            continue
        left = box_iou(boxes[rows], corners[positions[scene]])
        for number, row in enumerate(rows):
            face = int(left[number].argmax())
            if left[number, face] >= MIN_IOU:
                faces[row] = positions[scene][face]
                left[:, face] = -1
    return faces


def average_precision(hits: np.ndarray, scenes: np.ndarray, faces: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """COCO's average precision, of scenes that are drawn several times or not at all.

    Parameters
    ----------
    hits : ndarray (n,), bool
        Of the found boxes, by falling score.
    scenes : ndarray (n,), int
        Of the found boxes.
    faces : ndarray (scenes,), int
        In each scene.
    drawn : ndarray (rounds, scenes), int
        How often each round has each scene.

    Returns
    -------
    ndarray (rounds,)
        Not a number where a round has no face.
    """
    times = drawn[:, scenes]
    right, all_ = np.cumsum(times * hits, axis=1), np.cumsum(times, axis=1)
    wanted = drawn @ faces
    precision = right / np.maximum(all_, 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = np.full(len(drawn), np.nan)
    for number in np.flatnonzero(wanted):
        places = np.searchsorted(right[number] / wanted[number], RECALLS - 1e-12)
        values[number] = np.append(precision[number], 0)[places].mean()
    return values


def mean_average_precision(
    truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], drawn: np.ndarray
) -> np.ndarray:
    """mAP50 of every round of drawn scenes (rounds, scenes): the mean over the classes that occur in it, not a number
    if none does.
    """
    listed, values = by_class(found, classes), []
    for label in classes:
        own, boxes = (table[table.label == label].reset_index(drop=True) for table in (truth, listed))
        faces = np.bincount(own.scene, minlength=drawn.shape[1])
        values.append(average_precision(matched(own, boxes) >= 0, boxes.scene.to_numpy(), faces, drawn))
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def ratio(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Quotients, not a number where the divisor is 0."""
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)


def map50(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], scenes: int) -> float:
    """mAP50 of all scenes, once each; 0 if they have no face."""
    return float(np.nan_to_num(mean_average_precision(truth, found, classes, np.ones((1, scenes), int)))[0])


def coco(truth: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str], scenes: int) -> np.ndarray:
    """COCO's scores by faster-coco-eval: precision (10 IoUs, 101 recalls, classes, 4 sizes), -1 where there is no face.

    The sizes are all, then `AREAS`, in pixels of the photo.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
        sides = table[["right", "bottom"]].to_numpy(float) - table[["left", "top"]].to_numpy(float)
        boxes = np.column_stack([table[["left", "top"]].to_numpy(float), sides]).tolist()
        numbers = table.label.map({label: number for number, label in enumerate(classes, start=1)})
        return [
            # Numbers begin at 1: 0 means "matched with nothing".
            {"id": place, "image_id": int(scene) + 1, "category_id": int(number), "bbox": box, "area": box[2] * box[3]}
            for place, (scene, number, box) in enumerate(zip(table.scene, numbers, boxes, strict=True), start=1)
        ]

    listed = by_class(found, classes)
    wanted = COCO(
        {
            "images": [{"id": number + 1} for number in range(scenes)],
            "annotations": [row | {"iscrowd": 0} for row in rows(truth)],
            "categories": [{"id": number, "name": label} for number, label in enumerate(classes, start=1)],
        }
    )
    given = wanted.loadRes([row | {"score": score} for row, score in zip(rows(listed), listed.score, strict=True)])
    judged = COCOeval_faster(wanted, given, "bbox")
    judged.params.maxDets = [1, 10, MAX_BOXES]
    judged.evaluate()
    judged.accumulate()
    return judged.eval["precision"][..., -1]


def mean_where_known(precision: np.ndarray) -> float:
    """The mean of COCO's precisions, less those of classes without a face; not a number if there is nothing."""
    known = precision[precision >= 0]
    return float(known.mean()) if known.size else float("nan")
