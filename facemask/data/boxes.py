"""Bounding boxes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from facemask.core.iou import box_iou


class Box(NamedTuple):
    """A bounding box in pixels from the upper left corner; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.right - self.left, self.bottom - self.top

    @property
    def shorter_side(self) -> int:
        """The smaller of width and height, in pixels."""
        return min(self.size)

    def within(self, width: int, height: int) -> "Box":
        """The box clipped to a photo of width x height."""
        return Box(*(min(max(edge, 0), end) for edge, end in zip(self, (width, height, width, height), strict=True)))

    def widened(self, margin: float, width: int, height: int) -> "Box":
        """The box with a fraction of its size added on every side, clipped to a photo of width x height."""
        across, down = margin * (self.right - self.left), margin * (self.bottom - self.top)
        edges = self.left - across, self.top - down, self.right + across, self.bottom + down
        return Box(*map(round, edges)).within(width, height)


def to_columns(box: Box | None) -> dict[str, int]:
    """A face's box as columns of a table; all 0 if the face is the whole photo (None)."""
    return (box or Box(0, 0, 0, 0))._asdict()


def from_columns(row: Any) -> Box | None:
    """The box in a row of a table, as `to_columns` wrote it."""
    box = Box(row.left, row.top, row.right, row.bottom)
    return box if any(box) else None


def matches(ones: Sequence[Box], others: Sequence[Box], least: float) -> list[tuple[int, int]]:
    """Greedy matching: pairs of boxes with an IoU of at least `least`, the highest first, each box at most once."""
    iou = box_iou(ones, others)
    pairs = []
    while iou.size and iou.max() >= least:
        one, other = np.unravel_index(iou.argmax(), iou.shape)
        pairs.append((int(one), int(other)))
        iou[one, :] = iou[:, other] = -1
    return pairs
