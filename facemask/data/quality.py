"""What a photo of a face is like, whatever it shows: how bright, how sharp."""

from typing import NamedTuple

import cv2
import numpy as np

# What is remembered of a face that a model labelled: the shorter side of the face in pixels, its quality in the square
# that the model saw, the probability of the label, and the label.
REMEMBERED = ("size", "brightness", "sharpness", "confidence", "label")


class Quality(NamedTuple):
    """What a photo is like.

    Attributes
    ----------
    brightness : float
        Mean luma, 0 to 255.
    sharpness : float
        Variance of the Laplacian of the luma (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
        2000). It depends on the size of the photo: compare photos of one size.
    """

    brightness: float
    sharpness: float


def measure(pixels: np.ndarray) -> Quality:
    """The quality of a photo, (height, width, 3) uint8 RGB."""
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return Quality(float(luma.mean()), float(cv2.Laplacian(luma, cv2.CV_32F).var()))
