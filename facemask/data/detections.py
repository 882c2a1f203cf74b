"""From the output of a detector to boxes in the photo."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facemask.data.boxes import Box

if TYPE_CHECKING:
    import pandas as pd

MAX_IOU = 0.5


def suppress(boxes: np.ndarray, scores: np.ndarray, min_score: float) -> np.ndarray:
    """Non-maximum suppression by OpenCV, whatever the classes, since one face is of one class.

    Parameters
    ----------
    boxes : ndarray (n, 4)
        Left, top, right, bottom.
    scores : ndarray (n, classes)
        A box is as sure as its best class.

    Returns
    -------
    ndarray (m,), int
        The rows to keep, by falling score: of those at least as sure as `min_score`, those that overlap no surer
        one by IoU > `MAX_IOU`.
    """
    sure = scores.max(axis=1)
    likely = np.flatnonzero(sure >= min_score)
    corners = boxes[likely].astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    kept = cv2.dnn.NMSBoxes(corners.tolist(), sure[likely].astype(np.float64).tolist(), 0.0, MAX_IOU)
    return likely[np.asarray(kept, int)]


def boxes_of(
    outputs: np.ndarray, scales: np.ndarray, size: int, classes: Sequence[str], min_score: float
) -> "pd.DataFrame":
    """A row a box: scene, left, top, right, bottom in pixels of the photo, and p_CLASS for every class.

    Parameters
    ----------
    outputs : ndarray (scenes, rows, 4 + classes)
        Boxes as fractions of the square's side, and scores.
    scales : ndarray (scenes,)
        What a length in the photo was multiplied by, to fit a square of `size` pixels.
    """
    import pandas as pd  # which the predictor does without

    parts = [pd.DataFrame(columns=["scene", *Box._fields, *(f"p_{label}" for label in classes)], dtype=float)]
    for number, (output, scale) in enumerate(zip(outputs, scales, strict=True)):
        kept = output[suppress(output[:, :4], output[:, 4:], min_score)].astype(float)
        edges = dict(zip(Box._fields, (kept[:, :4] * size / scale).T, strict=True))
        scores = {f"p_{label}": kept[:, 4 + place] for place, label in enumerate(classes)}
        parts.append(pd.DataFrame({"scene": number, **edges, **scores}, index=range(len(kept))))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True).astype({"scene": int})
