"""Face detectors, one module each, registered here.

A detector is opened with a weights file (None: its default) and the sizes to which it scales the longest side of a
photo, in pixels; it maps uint8 RGB pixels (height, width, 3) to faces. It is not thread-safe.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.core.errors import UserError
from facemask.data.boxes import Box

MAX_IOU = 0.3


class Face(NamedTuple):
    """A detected face: its box, None for the whole photo, and the detector's score, 0 to 1.

    A detector with `classes` gives their probabilities too, and needs no classifier. YuNet gives landmarks (x, y) in
    pixels: both eyes, the tip of the nose, both corners of the mouth.
    """

    box: Box | None
    score: float
    probabilities: tuple[float, ...] | None = None
    landmarks: tuple[tuple[float, float], ...] = ()


class WeightsError(UserError):
    """Weights of a detector that cannot be used; the message says which, and why."""


Detector = Callable[[np.ndarray], list[Face]]


def open_yunet(weights: Path | None, sizes: Sequence[int]) -> Detector:
    """YuNet, which detects faces of 10 to 300 pixels, masked ones too."""
    from facemask.inference.detectors.yunet import YuNet

    return YuNet(weights, sizes)


def open_none(weights: Path | None, sizes: Sequence[int]) -> Detector:
    """No detection: every photo is a cropped face."""
    return lambda pixels: [Face(None, 1.0)]


def open_mask_detector(weights: Path | None, sizes: Sequence[int]) -> Detector:
    """The project's own detector, which says the classes too; its one size is that of its training."""
    from facemask.inference.detectors.mask_detector import MaskDetector

    return MaskDetector(weights)


DETECTORS = {"yunet": open_yunet, "none": open_none, "mask-detector": open_mask_detector}
LABELLING = {"mask-detector"}  # those that need no classifier


def suppressed(faces: list[Face]) -> list[Face]:
    """Non-maximum suppression: by falling score, without faces whose IoU with a better one is above `MAX_IOU`."""
    boxes = [(face.box.left, face.box.top, *face.box.size) for face in faces if face.box]
    kept = cv2.dnn.NMSBoxes(boxes, [face.score for face in faces], 0.0, MAX_IOU)
    return [faces[number] for number in kept]
