"""Corruption of photos, as cameras, encoders and things before a face do it, in three severities.

The kinds and the idea of mean corruption accuracy are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking
neural network robustness to common corruptions and perturbations", 2019), with the severities chosen for small squares:
sizes are fractions of a photo's side.
"""

import math

import cv2
import numpy as np

from facemask.core.params import Count, Section
from facemask.data import occluders

SEVERITIES = (1, 2, 3)


class Robustness(Section):
    """How many photos are corrupted; params.yaml explains it."""

    photos: Count


def defocus(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur of a lens out of focus: a disk."""
    radius = (0.015, 0.03, 0.05)[severity - 1] * len(pixels)
    reach = math.ceil(radius)
    x, y = np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return cv2.filter2D(pixels, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT_101)


def motion(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Blur of a face that moves, in any direction."""
    length = (0.06, 0.11, 0.18)[severity - 1] * len(pixels)
    reach, direction = math.ceil(length / 2), rng.uniform(0, math.pi)
    x, y = np.meshgrid(*[np.arange(-reach, reach + 1)] * 2)
    along = np.abs(x * math.cos(direction) + y * math.sin(direction))
    across = np.abs(y * math.cos(direction) - x * math.sin(direction))
    line = np.clip(length / 2 + 0.5 - along, 0, 1) * np.clip(1 - across, 0, 1)
    return cv2.filter2D(pixels, -1, line / line.sum(), borderType=cv2.BORDER_REFLECT_101)


def noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of a sensor in little light."""
    deviation = (12, 25, 45)[severity - 1]
    return to_uint8(pixels + rng.normal(0, deviation, pixels.shape))


def jpeg(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Strong compression."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, (20, 10, 5)[severity - 1]]
    return cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], quality)[1], cv2.IMREAD_COLOR_RGB)


def low_resolution(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A face of few pixels, enlarged."""
    size = len(pixels)
    side = round(size * (0.3, 0.2, 0.12)[severity - 1])
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)


def darkness(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Too little light."""
    return to_uint8(pixels * (0.5, 0.25, 0.12)[severity - 1])


def fog(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Fog, denser in some places than in others; also a dirty lens or a window."""
    size, density = len(pixels), (0.4, 0.6, 0.75)[severity - 1]
    clouds = cv2.resize(rng.uniform(0.7, 1.3, (4, 4)), (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    opacity = np.clip(density * clouds, 0, 0.95)
    return to_uint8(opacity * 225 + (1 - opacity) * pixels)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Numbers as pixels, rounded and clipped."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


CAMERA = {
    "defocus": defocus, "motion": motion, "noise": noise, "jpeg": jpeg, "low_resolution": low_resolution,
    "darkness": darkness, "fog": fog,
}  # fmt: skip
OCCLUSION = {"patch": occluders.patch, "hand": occluders.hand, "scarf": occluders.scarf}
KINDS = CAMERA | OCCLUSION


def corrupt(pixels: np.ndarray, kind: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A corrupted copy of a photo.

    Parameters
    ----------
    pixels : ndarray (size, size, 3), uint8
        RGB.
    kind : str
        A key of `KINDS`. Those of `OCCLUSION` cover mouth and nose, and so say something about unmasked faces alone.
    severity : int
        One of `SEVERITIES`.
    """
    return np.ascontiguousarray(KINDS[kind](pixels, severity, rng))
