"""Non-maximum suppression by OpenCV: of boxes that overlap, the surest is kept."""

import cv2
import numpy as np

MAX_OVERLAP = 0.5


def suppress(boxes: np.ndarray, scores: np.ndarray, least_score: float) -> np.ndarray:
    """The rows to keep, the surest first: whatever their classes, those that overlap a surer one by IoU > `MAX_OVERLAP`
    are left out, since one face is of one class.

    Parameters
    ----------
    boxes : ndarray (n, 4)
        Left, top, right, bottom.
    scores : ndarray (n, classes)
        A box is as sure as its best class; less sure ones than `least_score` are left out.
    """
    sure = scores.max(axis=1)
    likely = np.flatnonzero(sure >= least_score)
    corners = boxes[likely].astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    kept = cv2.dnn.NMSBoxes(corners.tolist(), sure[likely].astype(np.float64).tolist(), least_score, MAX_OVERLAP)
    return likely[np.asarray(kept, int)]
