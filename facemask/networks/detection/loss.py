"""What a detector is trained to make small."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from facemask.networks.detection.assignment import Assigned, by_anchors, task_aligned
from facemask.networks.detection.cells import Cells, decode
from facemask.networks.detection.iou import complete_iou, iou

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor

BOX_WEIGHT = 2.0
IGNORED_IOU = 0.7  # of YOLOv4: unassigned rows with a higher IoU with a face are ignored
FOCUS = 2.0  # the power of quality focal loss


def of(cells: Cells) -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """The loss of a detector with these cells: (faces, raw outputs) to one number; faces as in `assignment`."""
    function = anchor_free if cells.anchors is None else anchored
    return lambda faces, raw: function(faces, raw, cells)


def assigned_faces(faces: "Tensor", assigned: Assigned, classes: int) -> tuple["Tensor", "Tensor"]:
    """Box (n, rows, 4) and class (n, rows, classes), one-hot, of every row's face."""
    from keras import ops

    mine = ops.take_along_axis(faces, assigned.face[..., None], axis=1)
    return mine[..., 1:], ops.one_hot(ops.cast(mine[..., 0], "int32"), classes)


def cross_entropy(targets: "Tensor", logits: "Tensor") -> "Tensor":
    """Binary cross-entropy of logits, number by number; with targets between 0 and 1 it is least there."""
    from keras import ops

    return ops.maximum(logits, 0.0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))


def anchor_free(faces: "Tensor", raw: "Tensor", cells: Cells) -> "Tensor":
    """Quality focal loss (Li et al., 2020) of the classes, complete IoU of the boxes, by task-aligned assignment.

    A class is to say how well its row finds the face: the target is the row's weight, and what is nearly right
    counts little.
    """
    from keras import ops

    boxes, scores = decode(raw, cells)
    assigned = task_aligned(faces, ops.stop_gradient(boxes), ops.stop_gradient(scores), cells)
    wanted, kind = assigned_faces(faces, assigned, scores.shape[-1])
    weight = ops.stop_gradient(assigned.weight)
    quality = kind * weight[..., None]
    classes = ops.sum(ops.abs(quality - scores) ** FOCUS * cross_entropy(quality, raw[..., 4:]))
    edges = ops.sum(weight * (1 - complete_iou(boxes, wanted)))
    return (classes + BOX_WEIGHT * edges) / ops.maximum(ops.sum(weight), 1.0)


def anchored(faces: "Tensor", raw: "Tensor", cells: Cells) -> "Tensor":
    """YOLOv4's loss: complete IoU of the boxes, binary cross-entropy of objectness and classes, by anchors."""
    from keras import ops

    boxes, scores = decode(raw, cells)
    assigned = by_anchors(faces, cells)
    wanted, kind = assigned_faces(faces, assigned, scores.shape[-1])
    weight = ops.stop_gradient(assigned.weight)
    covering = ops.stop_gradient(iou(boxes[:, :, None], faces[:, None, :, 1:]))
    covered = ops.max(ops.where(faces[:, None, :, 0] >= 0, covering, 0.0), axis=-1) > IGNORED_IOU
    counted = ops.maximum(weight, 1.0 - ops.cast(covered, "float32"))
    objects = ops.sum(counted * cross_entropy(weight, raw[..., 4]))
    classes = ops.sum(weight[..., None] * cross_entropy(kind, raw[..., 5:]))
    edges = ops.sum(weight * (1 - complete_iou(boxes, wanted)))
    return (objects + classes + BOX_WEIGHT * edges) / ops.maximum(ops.sum(weight), 1.0)
