"""Annotation of photos: a box and a label for each face, in a colour a class."""

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np
from text_unidecode import unidecode

from facemask.data.boxes import Box

# Okabe-Ito palette, for colour-blind readers (after M. Okabe, K. Ito, "Color universal design", 2008).
COLOURS = ((0, 158, 115), (213, 94, 0), (240, 180, 0), (0, 114, 178), (204, 121, 167), (86, 180, 233))
GREY = (128, 128, 128)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Drawable(Protocol):
    """A face in a photo, or a track in a video; the label may be unknown."""

    @property
    def box(self) -> Box: ...
    @property
    def label(self) -> str | None: ...
    @property
    def probability(self) -> float | None: ...


def colour(label: str, classes: list[str]) -> tuple[int, int, int]:
    """The RGB colour of a class: green for with_mask, the others in order."""
    ranked = sorted(classes, key=lambda name: (name != "with_mask", name != "without_mask", name))
    return COLOURS[ranked.index(label) % len(COLOURS)]


def draw(pixels: np.ndarray, faces: Iterable[Drawable], classes: list[str]) -> None:
    """Draw faces into uint8 RGB pixels (height, width, 3); grey, without text, where the label is unknown."""
    height, width = pixels.shape[:2]
    thickness = max(1, round(max(height, width) / 400))
    scale = max(0.4, max(height, width) / 1800)
    for face in faces:
        box, paint = face.box, colour(face.label, classes) if face.label else GREY
        cv2.rectangle(pixels, box[:2], (box.right - 1, box.bottom - 1), paint, thickness, cv2.LINE_AA)
        if not face.label:
            continue
        label = unidecode(face.label.replace("_", " ")).strip()  # OpenCV has the letters of ASCII alone
        text = f"{label} {face.probability:.2f}"
        (across, up), below = cv2.getTextSize(text, FONT, scale, thickness)
        padding = thickness + 2
        left = min(max(0, box.left), max(0, width - across - 2 * padding))
        bottom = box.top if box.top >= up + below + 2 * padding else min(height, box.bottom + up + below + 2 * padding)
        corner = left + across + 2 * padding, bottom - up - below - 2 * padding
        cv2.rectangle(pixels, (left, bottom), corner, paint, cv2.FILLED)
        ink = (0, 0, 0) if sum(paint) > 380 else (255, 255, 255)
        cv2.putText(
            pixels, text, (left + padding, bottom - padding - below), FONT, scale, ink,
            max(1, thickness // 2), cv2.LINE_AA,
        )  # fmt: skip
