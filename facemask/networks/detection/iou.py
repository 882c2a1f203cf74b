"""How well boxes agree, in operations that have gradients. Boxes are left, top, right, bottom in their last axis."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor

LEAST = 1e-7


def iou(ones: "Tensor", others: "Tensor") -> "Tensor":
    """Intersection over union, 0 to 1: (..., 4) and (..., 4), broadcast, to (...)."""
    from keras import ops

    low, high = ops.maximum(ones[..., :2], others[..., :2]), ops.minimum(ones[..., 2:], others[..., 2:])
    shared = ops.prod(ops.maximum(high - low, 0.0), axis=-1)
    areas = [ops.prod(ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1) for boxes in (ones, others)]
    return shared / (areas[0] + areas[1] - shared + LEAST)


def complete_iou(ones: "Tensor", others: "Tensor") -> "Tensor":
    """Complete IoU (Zheng et al., 2020), -1.5 to 1: (..., 4) and (..., 4) to (...).

    Of IoU it takes off the distance of the centres, as a fraction of the diagonal of what holds both boxes, and the
    difference of the aspect ratios; so boxes that do not touch have a gradient too.
    """
    from keras import ops

    overlap = iou(ones, others)
    frame = ops.maximum(ones[..., 2:], others[..., 2:]) - ops.minimum(ones[..., :2], others[..., :2])
    apart = (ones[..., :2] + ones[..., 2:] - others[..., :2] - others[..., 2:]) / 2
    distance = ops.sum(apart**2, axis=-1) / (ops.sum(frame**2, axis=-1) + LEAST)
    angles = [
        ops.arctan2(boxes[..., 2] - boxes[..., 0], ops.maximum(boxes[..., 3] - boxes[..., 1], LEAST))
        for boxes in (ones, others)
    ]
    ratio = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    weight = ops.stop_gradient(ratio / (1 - overlap + ratio + LEAST))
    return overlap - distance - weight * ratio
