"""Where faces are in a photo: one module a detector, registered here.

A detector is opened with a weights file (None: its own) and the size to which it scales the longest
side of a photo, in pixels; then it maps uint8 RGB pixels (height, width, 3) to faces. It is for one
thread at a time.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facemask.data.boxes import Box, overlaps

SAME_FACE = 0.3


class Face(NamedTuple):
    """A face, and how sure the detector is of it, 0 to 1."""

    box: Box
    score: float


Detector = Callable[[np.ndarray], list[Face]]


def open_yunet(weights: Path | None, size: int) -> Detector:
    """YuNet, which finds faces of 10 to 300 pixels, masked ones too."""
    from facemask.inference.detectors.yunet import YuNet

    return YuNet(weights, size)


def open_none(weights: Path | None, size: int) -> Detector:
    """Every photo is one face: for photos that are cut out already."""
    return lambda pixels: [Face(Box(0, 0, pixels.shape[1], pixels.shape[0]), 1.0)]


DETECTORS = {"yunet": open_yunet, "none": open_none}


def open_detector(name: str, weights: Path | None, sizes: Sequence[int]) -> Detector:
    """A detector that looks at every photo at each of the sizes, and tells a face that it finds twice once.

    At a small size it finds the faces that fill the photo, at a large one those far away.
    """
    detectors = [DETECTORS[name](weights, size) for size in sizes]

    def detect(pixels: np.ndarray) -> list[Face]:
        found = []
        for look in detectors:
            faces = look(pixels)
            known = overlaps([face.box for face in faces], [face.box for face in found]).max(axis=1, initial=0)
            found += [face for face, overlap in zip(faces, known, strict=True) if overlap < SAME_FACE]
        return found

    return detect
