"""Anchors: the sizes of box that a YOLO starts from, found in the training boxes."""

import numpy as np

ROUNDS = 100


def shape_iou(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes laid on one centre: (n, 2) with (m, 2) width and height, to (n, m)."""
    shared = np.minimum(ones[:, None], others[None]).prod(axis=-1)
    return shared / (ones.prod(axis=-1)[:, None] + others.prod(axis=-1)[None] - shared)


def k_medians(shapes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """k-medians of boxes, by 1 - IoU of their shapes, as in YOLO9000 (Redmon and Farhadi, 2017), which takes means.

    Parameters
    ----------
    shapes : ndarray (n, 2)
        Width and height in pixels.

    Returns
    -------
    ndarray (count, 2), float32
        The smallest first; of fewer different shapes than that, some are there twice.
    """
    rng = np.random.default_rng(seed)
    anchors = shapes[rng.choice(len(shapes), count, replace=len(shapes) < count)].astype(float)
    for _ in range(ROUNDS):
        nearest = shape_iou(shapes, anchors).argmax(axis=1)
        own = [shapes[nearest == number] for number in range(count)]
        moved = np.stack(
            [np.median(part, axis=0) if len(part) else one for part, one in zip(own, anchors, strict=True)]
        )
        if (moved == anchors).all():
            break
        anchors = moved
    return anchors[np.argsort(anchors.prod(axis=1), kind="stable")].astype(np.float32)
