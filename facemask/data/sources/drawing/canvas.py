"""A picture to draw on: colours, curves, and polygons with antialiased edges."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SUPERSAMPLING = 2


def rgb(colour: str) -> np.ndarray:
    """A colour RRGGBB as float array (3,), 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)], float)


def pixel(colour: Iterable[float]) -> tuple[int, ...]:
    """A colour as Pillow takes it."""
    return tuple(min(max(int(value), 0), 255) for value in colour)


def catmull_rom(steps: int) -> np.ndarray:
    """The weights (steps, 4) of four points in a row, for the steps from the second to the third."""
    t = np.arange(steps)[:, None] / steps
    return 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])


SPLINE = catmull_rom(steps=8)


def curve(points: ArrayLike, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom spline through points (n, 2), as a polyline (m, 2)."""
    points = np.asarray(points, float)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    rows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]])
    spline = np.einsum("sk,knd->nsd", SPLINE, rows).reshape(-1, 2)
    return spline if closed else np.concatenate([spline, points[-1:]])


def mirrored(right: ArrayLike) -> np.ndarray:
    """A closed shape from its right half, given from top to bottom, and the mirror image of that."""
    right = np.asarray(right, float)
    return np.vstack([right, right[::-1] * (-1, 1)])


class Canvas:
    """A supersampled picture, for antialiased edges."""

    def __init__(self, size: int):
        self.size = size
        self.side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))

    def stencil(self, points: ArrayLike) -> Image.Image:
        """The inside of a polygon (n, 2), in canvas pixels, as a mask of the size of the canvas."""
        stencil = Image.new("L", self.image.size)
        ImageDraw.Draw(stencil).polygon(np.ravel(points).tolist(), fill=255)
        return stencil

    def fill(
        self, points: ArrayLike, colour: Iterable[float], opacity: float = 1.0, blur: float = 0.0,
        inside: Image.Image | None = None,
    ) -> None:  # fmt: skip
        """Fill a polygon, blurred by a number of pixels, and only inside a stencil if one is given."""
        points = np.asarray(points)
        left, top = (max(0, int(least - 3 * blur)) for least in points.min(axis=0))
        right, bottom = (min(self.side, int(most + 3 * blur) + 2) for most in points.max(axis=0))
        if left >= right or top >= bottom:
            return
        stencil = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(stencil).polygon((points - (left, top)).ravel().tolist(), fill=round(255 * opacity))
        if blur:
            stencil = stencil.filter(ImageFilter.GaussianBlur(blur))
        box = (left, top, right, bottom)
        if inside is not None:
            stencil = ImageChops.multiply(stencil, inside.crop(box))
        self.image.paste(pixel(colour), box, stencil)

    def line(self, points: ArrayLike, colour: Iterable[float], width: float) -> None:
        """Draw a polyline; width in canvas pixels."""
        ImageDraw.Draw(self.image).line(
            np.ravel(points).tolist(), fill=pixel(colour), width=max(1, round(width)), joint="curve"
        )
