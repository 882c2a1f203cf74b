"""The cells that a detector's outputs are about, and the boxes that the outputs say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

REACH = 8.0  # times the cell's side: as far as an edge may lie from the centre of an anchor-free cell


class Cells(NamedTuple):
    """What each row of a detector's output is about, float32.

    Attributes
    ----------
    centres : ndarray (rows, 2)
        x and y in pixels.
    sides : ndarray (rows, 1)
        Of the cell, in pixels: the stride of its map.
    anchors : ndarray (rows, 2) or None
        Width and height in pixels; None in a network without anchors.
    """

    centres: np.ndarray
    sides: np.ndarray
    anchors: np.ndarray | None


def grid(image_size: int, strides: Sequence[int], anchors: Sequence[np.ndarray] | None = None) -> Cells:
    """The cells of square maps, row by row, map by map, and in each cell anchor by anchor.

    Parameters
    ----------
    anchors : sequence of ndarray (n, 2), optional
        Of each map.
    """
    centres, sides, shapes = [], [], []
    for number, stride in enumerate(strides):
        middle = (np.arange(image_size // stride) + 0.5) * stride
        places = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
        own = np.zeros((1, 2)) if anchors is None else np.asarray(anchors[number])
        centres.append(np.repeat(places, len(own), axis=0))
        shapes.append(np.tile(own, (len(places), 1)))
        sides.append(np.full((len(centres[-1]), 1), stride))
    rows = [np.concatenate(parts).astype(np.float32) for parts in (centres, sides, shapes)]
    return Cells(rows[0], rows[1], None if anchors is None else rows[2])


def decode(raw: "keras.KerasTensor", cells: Cells) -> tuple["keras.KerasTensor", "keras.KerasTensor"]:
    """Raw outputs (n, rows, channels) to boxes (n, rows, 4) in pixels and scores (n, rows, classes).

    Without anchors the channels are the distances of left, top, right and bottom edge from the cell's centre, as in
    FCOS (Tian et al., 2019), here as a bounded fraction of `REACH` cells, which 8 bits can hold; then the classes.
    With anchors they are place, size, objectness and classes; place and size are bounded as in Scaled-YOLOv4 (Wang et
    al., 2021), since YOLOv4's exponential of a size is what made its losses infinite.
    """
    from keras import ops

    if cells.anchors is None:
        reach = ops.sigmoid(raw[..., :4]) * (REACH * cells.sides)
        return (
            ops.concatenate([-reach[..., :2] + cells.centres, reach[..., 2:] + cells.centres], axis=-1),
            ops.sigmoid(raw[..., 4:]),
        )
    bounded = ops.sigmoid(raw[..., :4])
    centres = (2 * bounded[..., :2] - 1) * cells.sides + cells.centres
    half = 0.5 * (2 * bounded[..., 2:]) ** 2 * cells.anchors
    return (
        ops.concatenate([centres - half, centres + half], axis=-1),
        ops.sigmoid(raw[..., 4:5]) * ops.sigmoid(raw[..., 5:]),
    )
