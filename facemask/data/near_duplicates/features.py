"""Local features: SIFT (Lowe, 2004), made binary by the signs of random projections (Charikar, 2002)."""

from collections.abc import Iterable, Sequence
from typing import overload

import cv2
import numpy as np
from PIL import Image

SIDE = 128  # pixels of the longer side
FEATURES = 128  # of a photo at most: those with the most contrast
FEATURE = np.dtype([("code", np.uint64), *((name, np.float16) for name in ("x", "y", "size", "angle"))])
SIFT_ORIGIN = 0.25  # OpenCV's keypoints lie by so much too far right and down

# A mirror image has the same SIFT descriptors but for the order of the 4 rows, 4 columns and 8 directions. The second
# half of the projections is the first one mirrored, so mirroring a photo swaps the halves of its codes.
MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, -np.arange(8) % 8].ravel()
SIGNS = np.random.default_rng(0).permuted(np.tile(np.repeat([-1, 1], 64), (32, 1)), axis=1).T
PROJECTIONS = np.hstack([SIGNS, SIGNS[MIRRORED]]).astype(np.float32)  # of integers by integers: exact, in any order
HALF = np.uint64(32)


def grey(image: Image.Image) -> np.ndarray:
    """The photo in grey with `SIDE` pixels on its longer side: ndarray (h, w), uint8."""
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR))


def extract(pixels: np.ndarray) -> np.ndarray:
    """The local features of a photo.

    Parameters
    ----------
    pixels : ndarray (h, w), uint8

    Returns
    -------
    ndarray (n,), FEATURE
        With n at most `FEATURES`; places and sizes in pixels, from the photo's centre, angles in degrees.
    """
    sift = cv2.SIFT_create(nfeatures=FEATURES, nOctaveLayers=2, contrastThreshold=0.01, edgeThreshold=12)
    points, descriptors = sift.detectAndCompute(pixels, None)
    points = points[:FEATURES]
    found = np.zeros(len(points), FEATURE)
    if points:
        bits = cv2.gemm(descriptors[:FEATURES], PROJECTIONS, 1, None, 0) > 0
        found["code"] = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)[:, 0]
        places = np.array([point.pt for point in points]) - SIFT_ORIGIN - centre(pixels)
        found["x"], found["y"] = places.T
        found["size"] = [point.size for point in points]
        found["angle"] = [point.angle for point in points]
    return found


class Described(Sequence[np.ndarray]):
    """The local features of photos; those that lie on disk are read when they are asked for.

    Parameters
    ----------
    values : ndarray (n,), FEATURE
        Of all photos, possibly memory-mapped.
    starts, stops : ndarray (photos,), int
        Where those of each photo lie.
    """

    def __init__(self, values: np.ndarray, starts: np.ndarray, stops: np.ndarray):
        self.values, self.starts, self.stops = values, starts, stops

    @classmethod
    def one_by_one(cls, values: np.ndarray, counts: Iterable[int]) -> "Described":
        """Photos whose features lie one after the other, so many of each."""
        ends = np.cumsum([0, *counts])
        return cls(values, ends[:-1], ends[1:])

    def at(self, photos: np.ndarray) -> "Described":
        """Some of the photos, by their numbers."""
        return Described(self.values, self.starts[photos], self.stops[photos])

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, photo: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, photo: slice) -> list[np.ndarray]: ...
    def __getitem__(self, photo: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(photo, slice):
            return [self[number] for number in range(*photo.indices(len(self)))]
        return np.asarray(self.values[self.starts[photo] : self.stops[photo]])


def centre(pixels: np.ndarray) -> np.ndarray:
    """(x, y) of a photo's centre."""
    return (np.array(pixels.shape[::-1]) - 1) / 2


def mirrored(found: np.ndarray) -> np.ndarray:
    """The features of the photo's mirror image."""
    mirror = found.copy()
    mirror["code"] = found["code"] << HALF | found["code"] >> HALF
    mirror["x"] = -found["x"]
    mirror["angle"] = 180 - found["angle"]
    return mirror
