"""Which rows of a detector's output are to say which face. Nothing here has a gradient.

Faces come as (n, faces, 5): class, left, top, right, bottom in pixels; class -1 fills up a photo with fewer.
"""

from typing import TYPE_CHECKING, NamedTuple

from facemask.networks.detection.cells import Cells
from facemask.networks.detection.iou import iou

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor

MIN_ANCHOR_IOU = 0.213  # of YOLOv4
CANDIDATES = 10  # rows a face at most
ALIGNMENT = 6  # the power of IoU beside the score


class Assigned(NamedTuple):
    """What each row is to say.

    Attributes
    ----------
    face : tensor (n, rows), int32
        The number of its face in the photo; of a row without one, any.
    weight : tensor (n, rows), float32
        0 of a row without a face; otherwise how much it counts, up to 1.
    """

    face: "Tensor"
    weight: "Tensor"


def by_anchors(faces: "Tensor", cells: Cells) -> Assigned:
    """YOLOv4's rule (Bochkovskiy et al., 2020): in the cell of a face's centre every anchor with IoU > 0.213 of the
    shapes, and the best one whatever its IoU. Of several faces a row takes the one that its anchor fits best.
    """
    from keras import ops

    low, high = faces[..., 1:3], faces[..., 3:5]
    centre, shape = (low + high)[:, :, None] / 2, (high - low)[:, :, None]
    shared = ops.prod(ops.minimum(shape, cells.anchors), axis=-1)
    fit = shared / (ops.prod(shape, axis=-1) + ops.prod(cells.anchors, axis=-1) - shared + 1e-7)
    inside = ops.all(ops.abs(centre - cells.centres) <= cells.sides / 2, axis=-1)
    inside = ops.logical_and(inside, faces[..., :1] >= 0)
    fit = ops.where(inside, fit, -1.0)
    best = ops.logical_and(fit == ops.max(fit, axis=-1, keepdims=True), inside)
    matched = ops.logical_or(fit > MIN_ANCHOR_IOU, best)
    fit = ops.where(matched, fit, -1.0)
    return Assigned(ops.cast(ops.argmax(fit, axis=1), "int32"), ops.cast(ops.any(matched, axis=1), "float32"))


def task_aligned(faces: "Tensor", boxes: "Tensor", scores: "Tensor", cells: Cells) -> Assigned:
    """The rows that by now find a face best (TOOD: task-aligned one-stage detection, Feng et al., 2021).

    A row is a candidate if its cell's centre lies in the face, or in a square of two of the finest cells about the
    centre of a smaller one. Of these the `CANDIDATES` with the highest score * IoU^6 are assigned, and weigh as much
    as that is, scaled so that the best row of a face weighs as much as its IoU.

    Parameters
    ----------
    boxes, scores : tensors (n, rows, 4), (n, rows, classes)
        What the rows say now.
    """
    from keras import ops

    low, high = faces[..., 1:3], faces[..., 3:5]
    half = ops.maximum((high - low) / 2, float(cells.sides.min()))[:, :, None]
    near = ops.all(ops.abs(cells.centres - (low + high)[:, :, None] / 2) < half, axis=-1)
    near = ops.logical_and(near, faces[..., :1] >= 0)
    overlap = ops.where(near, iou(faces[:, :, None, 1:], boxes[:, None]), 0.0)
    wanted = ops.one_hot(ops.cast(faces[..., 0], "int32"), scores.shape[-1])
    score = ops.matmul(wanted, ops.transpose(scores, (0, 2, 1)))
    metric = score * overlap**ALIGNMENT
    least = ops.top_k(metric, min(CANDIDATES, len(cells.centres)))[0][..., -1:]
    chosen = ops.logical_and(metric >= least, metric > 0)
    overlap_if_chosen = ops.where(chosen, overlap, -1.0)
    face = ops.cast(ops.argmax(overlap_if_chosen, axis=1), "int32")
    owned = ops.logical_and(chosen, ops.arange(ops.shape(faces)[1], dtype="int32")[None, :, None] == face[:, None])
    metric, overlap = ops.where(owned, metric, 0.0), ops.where(owned, overlap, 0.0)
    scaled = metric / (ops.max(metric, axis=-1, keepdims=True) + 1e-12) * ops.max(overlap, axis=-1, keepdims=True)
    return Assigned(face, ops.max(scaled, axis=1))
