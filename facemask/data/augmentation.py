"""Data augmentation: hard negatives, geometric and colour transforms, and degradation."""

import math
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from facemask.core.params import Degrees, Extent, Probability, Section
from facemask.data.occluders import hard_negative

LUMINANCE = np.array([0.299, 0.587, 0.114])
LEAST_RESOLUTION = 0.1
JPEG_QUALITY = 30, 90
ERASED_SIDE = 0.2, 0.45


class Light(Section):
    """The ranges of the colour transform."""

    brightness: Extent
    contrast: Extent
    saturation: Extent
    grey: Probability


class Augment(Light):
    """How many augmented samples a photo gets, and the ranges of the transforms; params.yaml explains each."""

    copies: Annotated[int, Field(ge=0, le=64)]
    rotation: Degrees
    zoom: Extent
    stretch: Extent
    shift: Extent
    shear: Degrees
    flip: bool
    low_resolution: Probability
    jpeg: Probability
    erase: Probability
    occlude: Probability
    unmasked: str


def occlude(pixels: np.ndarray, label: str, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """A photo of a face, or, with a probability and if it is of the unmasked class, a hard negative made of it."""
    covered = label == augment.unmasked and augment.occlude and rng.random() < augment.occlude
    return hard_negative(pixels, rng) if covered else pixels


def alter(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """One augmented sample of a photo (size, size, 3), uint8: affine map, colour transform, degradation."""
    moved = move(pixels, augment, rng)
    return degrade(light(moved, augment, rng), augment, rng)


def move(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Affine map about the centre: rotation, zoom, stretch, shear, flip and shift.

    Pixels from outside the photo are its reflection.
    """
    size = len(pixels)
    turn = math.radians(rng.uniform(-augment.rotation, augment.rotation))
    lean = math.tan(math.radians(rng.uniform(-augment.shear, augment.shear)))
    scale = (1 + augment.zoom) ** rng.uniform(-1, 1)
    stretch = (1 + augment.stretch) ** rng.uniform(-1, 1)
    shift = rng.uniform(-augment.shift, augment.shift, 2) * size
    mirror = -1 if augment.flip and rng.random() < 0.5 else 1
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = scale * rotate @ np.array([[1, lean], [0, 1]]) @ np.diag([mirror * stretch, 1 / stretch])
    centre = np.full(2, (size - 1) / 2)
    affine = np.column_stack([linear, centre + shift - linear @ centre])
    return cv2.warpAffine(pixels, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def light(pixels: np.ndarray, augment: Light, rng: np.random.Generator) -> np.ndarray:
    """Colour matrix: brightness, contrast about the mean, and saturation."""
    gain, contrast, saturation = (
        1 + rng.uniform(-extent, extent) for extent in (augment.brightness, augment.contrast, augment.saturation)
    )
    if rng.random() < augment.grey:
        saturation = 0.0
    mixing = saturation * np.eye(3) + (1 - saturation) * LUMINANCE
    mean = LUMINANCE @ pixels.mean(axis=(0, 1))
    matrix = np.column_stack([gain * contrast * mixing, np.full(3, gain * (1 - contrast) * mean)])
    return cv2.transform(pixels, matrix)


def degrade(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Downsampling, JPEG compression and random erasing, each with its own probability."""
    size = len(pixels)
    if rng.random() < augment.low_resolution:
        side = round(size * math.exp(rng.uniform(math.log(LEAST_RESOLUTION), 0)))
        small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < augment.jpeg:
        quality = int(rng.integers(*JPEG_QUALITY))
        content = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
    if rng.random() < augment.erase:
        width, height = (round(size * fraction) for fraction in rng.uniform(*ERASED_SIDE, 2))
        left, top = rng.integers(0, size - width + 1), rng.integers(0, size - height + 1)
        pixels = pixels.copy()
        pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return pixels
