"""How far two boxes cover each other."""

import numpy as np
from numpy.typing import ArrayLike


def box_iou(ones: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Intersection over union (IoU) of every box of ones with every box of others.

    Parameters
    ----------
    ones, others : array-like (n, 4) and (m, 4)
        left, top, right, bottom.

    Returns
    -------
    ndarray (n, m), float64
    """
    first = np.array(ones, float).reshape(-1, 1, 4)
    second = np.array(others, float).reshape(1, -1, 4)
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    intersection = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (first, second)]
    return intersection / np.maximum(areas[0] + areas[1] - intersection, 1e-9)
