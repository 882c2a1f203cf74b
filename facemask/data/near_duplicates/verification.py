"""Whether two photos are near-duplicates: one, aligned with the other, must correlate with it."""

from typing import NamedTuple

import cv2
import numpy as np

from facemask.data.near_duplicates.features import centre

KINDS = "identical", "re-encoded", "mirrored", "turned", "cropped", "occluded"

WINDOW = 17  # pixels, of the local correlation
SMOOTHING = 1.0  # pixels; beyond what encoders and resizing change
TEXTURE = 16.0  # grey levels squared: the variance from which a window shows anything
LEAST_TEXTURE = 200  # pixels
LEAST_OVERLAP = 0.3  # of the smaller photo
SAME = 0.97  # the local correlation of pixels that are the same beyond doubt
MOSTLY = 0.6  # the fraction of such pixels from which two photos are one, whatever happened to the others
OCCLUDED = 0.37  # the fraction from which they are if the others have nothing in common: ...
UNRELATED = 0.6  # ... if their mean local correlation is below this


class Limits(NamedTuple):
    """What the transform between two photos must hold.

    Attributes
    ----------
    bits : int
        Of 64, in which the codes of one feature may differ.
    pixels : float
        By which a shared feature may miss its place.
    features : int
        That must agree on the transform.
    """

    bits: int = 14
    pixels: float = 4.0
    features: int = 5


LOOSER = Limits(bits=18, pixels=6.0, features=4)


def align(left: np.ndarray, right: np.ndarray, limits: Limits = Limits()) -> np.ndarray | None:  # noqa: B008
    """The affine transform that takes places of one photo to places of another.

    Every shared feature gives a similarity transform by itself; the one on which most others agree is refined to an
    affine transform by least squares. Unlike RANSAC this tries them all, so nothing is drawn at random.

    Parameters
    ----------
    left, right : ndarray (n,), FEATURE

    Returns
    -------
    ndarray (2, 3) or None
        Of places from the photos' centres; None where too few features agree, or only on a transform that no camera
        or editor makes.
    """
    if not (len(left) and len(right)):
        return None
    distances = np.bitwise_count(left["code"][:, None] ^ right["code"][None])
    nearest = distances.argmin(axis=1)
    mutual = distances.argmin(axis=0)[nearest] == np.arange(len(left))
    shared = np.flatnonzero(mutual & (distances.min(axis=1) <= limits.bits))
    if len(shared) < limits.features:
        return None
    left, right = left[shared], right[nearest[shared]]
    here, there = (found["x"].astype(np.float64) + 1j * found["y"] for found in (left, right))
    scale = right["size"].astype(np.float64) / left["size"]
    factor = scale * np.exp(1j * np.deg2rad(right["angle"].astype(np.float64) - left["angle"]))
    missed = np.abs(factor[:, None] * (here[None] - here[:, None]) + there[:, None] - there[None])
    agreeing = missed <= limits.pixels * np.maximum(1, scale)[:, None]
    best = agreeing.sum(axis=1).argmax()
    inside, allowed = agreeing[best], limits.pixels * max(1, scale[best])
    known = np.stack([here.real, here.imag, np.ones(len(here))], axis=1)
    wanted = np.stack([there.real, there.imag], axis=1)
    for _ in range(3):
        if inside.sum() < limits.features:
            return None
        matrix = np.linalg.lstsq(known[inside], wanted[inside])[0].T
        inside = np.hypot(*(known @ matrix.T - wanted).T) <= 0.75 * allowed
    stretches = np.linalg.svd(matrix[:, :2], compute_uv=False)
    possible = np.linalg.det(matrix[:, :2]) > 0 and stretches[0] < 1.6 * stretches[1]
    return matrix if possible and inside.sum() >= limits.features and 0.25 < stretches[1] <= stretches[0] < 4 else None


class Overlap(NamedTuple):
    """What two photos have in common.

    Attributes
    ----------
    correlation : float
        The mean local correlation; 0 where there is too little to see.
    same : float
        The fraction of pixels whose local correlation is at least `SAME`.
    whole : float
        The fraction of either photo, the smaller of the two, that the other one shows too.
    angle : float
        Degrees by which one is turned.
    """

    correlation: float
    same: float
    whole: float
    angle: float


def compare(left: np.ndarray, right: np.ndarray, matrix: np.ndarray) -> Overlap:
    """Lay one photo on the other, the finer one on the coarser, and correlate.

    Parameters
    ----------
    left, right : ndarray (h, w), uint8
    matrix : ndarray (2, 3)
        As `align` gives it.
    """
    matrix = matrix.copy()
    matrix[:, 2] += centre(right) - matrix[:, :2] @ centre(left)
    angle = np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1]))
    if np.linalg.det(matrix[:, :2]) > 1:
        left, right, matrix = right, left, cv2.invertAffineTransform(matrix)
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    scale = np.sqrt(np.linalg.det(matrix[:, :2]))
    if scale < 0.75:
        left = cv2.GaussianBlur(left, (0, 0), 0.5 / scale)
    correlation, same, common = correlate(left, right, matrix)
    fractions = common / right.size, common / (left.size * scale**2)
    if max(fractions) < LEAST_OVERLAP:
        correlation = same = 0.0
    return Overlap(correlation, same, float(min(fractions)), float(angle))


def correlate(left: np.ndarray, right: np.ndarray, matrix: np.ndarray) -> tuple[float, float, int]:
    """The mean local correlation, the fraction of pixels that are the same, and the pixels that overlap."""
    size = right.shape[::-1]
    laid = cv2.warpAffine(left, matrix, size)
    common = cv2.warpAffine(np.full(left.shape, 255, np.uint8), matrix, size) == 255
    inner = cv2.erode(common.astype(np.uint8), np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    one, other = (cv2.GaussianBlur(photo.astype(np.float32), (0, 0), SMOOTHING) for photo in (laid, right))

    def total(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values * inner, -1, (WINDOW, WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT)

    number = np.maximum(total(np.ones_like(one)), 1)
    means = total(one) / number, total(other) / number
    variances = [total(photo**2) / number - mean**2 for photo, mean in zip((one, other), means, strict=True)]
    covariance = total(one * other) / number - means[0] * means[1]
    textured = (inner > 0) & (np.maximum(*variances) > TEXTURE)
    if textured.sum() < LEAST_TEXTURE:
        return 0.0, 0.0, int(common.sum())
    floor = TEXTURE / 4  # noise in a flat window says nothing
    local = covariance / np.sqrt(np.maximum(variances[0], floor) * np.maximum(variances[1], floor))
    return float(local[textured].mean()), float((local[textured] >= SAME).mean()), int(common.sum())


def kind(overlap: Overlap, mirror: bool, correlation: float) -> str:
    """One of `KINDS`, or nothing if the photos are no near-duplicates.

    Parameters
    ----------
    correlation : float
        From which on they are.
    """
    if overlap.correlation < correlation and overlap.same < MOSTLY:
        others = (overlap.correlation - overlap.same) / (1 - overlap.same)
        return "occluded" if overlap.same >= OCCLUDED and others < UNRELATED else ""
    if mirror:
        return "mirrored"
    if abs(overlap.angle) > 2:
        return "turned"
    return "cropped" if overlap.whole < 0.95 else "re-encoded"
