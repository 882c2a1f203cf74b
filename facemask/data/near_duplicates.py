"""Find near-duplicates: a photo resized, re-encoded, brightened, mirrored, turned, cropped, or with a mask pasted on.

Two steps, as in image retrieval. Candidates are photos that share local features: SIFT [1]_, made binary by the signs
of random projections [2]_, so that equal keys in one sorted table find them. Then each candidate is verified:
the transform on which most shared features agree, refined on the pixels [3]_, must lay one photo on the other so that
the local correlation of what both show is high. Two photos of one person fail that, and so does one background behind
two people.

.. [1] D. G. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004.
.. [2] M. S. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
.. [3] G. D. Evangelidis, E. Z. Psarakis, "Parametric image alignment using enhanced correlation coefficient
   maximization", PAMI 30(10), 2008.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

KINDS = "identical", "re-encoded", "mirrored", "turned", "cropped", "occluded"

# --- features
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

# --- candidates
KEY = 28  # bits of a half
NEXT = 4  # entries of the sorted table that each one meets
SHARED = 2  # features of a candidate, turned by the same angle: ...
SECTORS = 8  # ... in one of so many sectors of the circle, or of as many halfway between them
PHOTOS_A_PASS = 10_000


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

# --- verification
WINDOW = 17  # pixels, of the local correlation
SMOOTHING = 1.0  # pixels; beyond what encoders and resizing change
TEXTURE = 16.0  # grey levels squared: the variance from which a window shows anything
LEAST_TEXTURE = 200  # pixels
LEAST_OVERLAP = 0.3  # of the smaller photo
SAME = 0.97  # the local correlation of pixels that are the same beyond doubt
MOSTLY = 0.6  # the fraction of such pixels from which two photos are one, whatever happened to the others
OCCLUDED = 0.37  # the fraction from which they are if the others have nothing in common: ...
UNRELATED = 0.6  # ... if their mean local correlation is below this
WORTH_REFINING = 0.4, 0.98  # the correlation from which refining may help, and from which it need not
REFINED = 12.0  # pixels by which a corner may move when the transform is refined


def grey(image: Image.Image) -> np.ndarray:
    """The photo in grey with `SIDE` pixels on its longer side: ndarray (h, w), uint8."""
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR))


def features(pixels: np.ndarray) -> np.ndarray:
    """The local features of a photo.

    Parameters
    ----------
    pixels : ndarray (h, w), uint8

    Returns
    -------
    ndarray (n,), FEATURE
        With n at most `FEATURES`; places and sizes in pixels, from the photo's centre, angles in degrees.
    """
    sift = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.01, edgeThreshold=12)
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


def candidates(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of photos, or of a photo and another's mirror image, that share features turned by the same angle.

    Every feature stands in a sorted table by a key from either half of its code. It meets the `NEXT` entries with the
    same key, so the cost stays linear however often a photo is there; photos of a large group meet through each other.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
        Which pairs are found may depend on their order if more than `NEXT` photos share a feature.

    Returns
    -------
    ndarray (pairs, 3), int
        Left photo, right photo, whether the right one is mirrored; sorted, left before right.
    """
    count = len(photos)
    owners = np.repeat(np.arange(count, dtype=np.uint32), [len(found) for found in photos])
    table = np.empty(2 * len(owners), np.uint64)
    np.concatenate([np.empty(0, np.uint64), *(found["code"] for found in photos)], out=table[: len(owners)])
    table[len(owners) :] = table[: len(owners)] >> HALF
    table <<= np.uint64(64 - KEY)
    table >>= np.uint64(64 - KEY) - HALF
    table |= np.arange(len(table), dtype=np.uint64)
    table.sort()
    entries, keys = table.astype(np.uint32), (table >> HALF).astype(np.uint32)
    del table
    halves = entries >= len(owners)
    entries %= np.uint32(max(1, len(owners)))
    angles = np.concatenate([np.empty(0, np.float16), *(found["angle"] for found in photos)])[entries]
    owners = owners[entries]
    del entries
    pairs = [np.empty((0, 3), np.int64)]
    for start in range(0, count, PHOTOS_A_PASS):
        votes = []
        for step in range(1, NEXT + 1):
            here = np.flatnonzero(keys[:-step] == keys[step:])
            first = np.minimum(owners[here], owners[here + step])
            here = here[(first >= start) & (first < start + PHOTOS_A_PASS) & (owners[here] != owners[here + step])]
            swapped = owners[here] > owners[here + step]
            left, right = np.where(swapped, here + step, here), np.where(swapped, here, here + step)
            flip = halves[left] != halves[right]
            turned = np.where(flip, 180 - angles[right].astype(np.float32), angles[right]) - angles[left]
            pair = (owners[left].astype(np.int64) * count + owners[right]) * 2 + flip
            for shift in (0, 1):
                sector = np.floor(turned * (SECTORS / 360) + shift / 2).astype(np.int64) % SECTORS
                votes.append((pair * 2 + shift) * SECTORS + sector)
        agreeing, shared = np.unique(np.concatenate(votes), return_counts=True)
        which = np.unique(agreeing[shared >= SHARED] // (2 * SECTORS))
        pairs.append(np.stack([which // 2 // count, which // 2 % count, which % 2], axis=1))
    return np.concatenate(pairs)


def nearest(photos: Sequence[np.ndarray], sample: int, count: int) -> np.ndarray:
    """For each of the first photos, those that share most features with it, found less quickly but more surely.

    Here a feature is shared where any quarter of its code is equal, and every photo with it counts.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
    sample : int
        For so many photos, ...
    count : int
        ... so many others, each as it is or mirrored.

    Returns
    -------
    ndarray (pairs, 3), int
        As `candidates` gives them, but with a photo of the sample on the left.
    """
    owners = np.repeat(np.arange(len(photos)), [len(found) for found in photos])
    quarters = np.concatenate([found["code"] for found in photos]).view(np.uint16).reshape(-1, 4)
    orders = [np.argsort(quarter, kind="stable") for quarter in quarters.T]
    tables = [quarter[order] for quarter, order in zip(quarters.T, orders, strict=True)]
    pairs = [np.empty((0, 3), np.int64)]
    for photo in range(min(sample, len(photos))):
        votes = np.zeros(2 * len(photos), np.int64)
        for flip, found in enumerate((photos[photo], mirrored(photos[photo]))):
            words = found["code"].copy().view(np.uint16).reshape(-1, 4)
            for quarter, order, table in zip(words.T, orders, tables, strict=True):
                first, last = (np.searchsorted(table, quarter, side) for side in ("left", "right"))
                lengths = last - first
                where = np.arange(lengths.sum()) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
                votes += np.bincount(2 * owners[order[where]] + flip, minlength=len(votes))
        votes[2 * photo : 2 * photo + 2] = 0
        most = np.argsort(-votes, kind="stable")[:count]
        most = most[votes[most] > 0]
        pairs.append(np.stack([np.full(len(most), photo), most // 2, most % 2], axis=1))
    return np.concatenate(pairs)


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
    if WORTH_REFINING[0] <= correlation < WORTH_REFINING[1]:
        refined = refine(left, right, matrix)
        if refined is not None:
            correlation, same, common = max((correlation, same, common), correlate(left, right, refined))
    fractions = common / right.size, common / (left.size * scale**2)
    if max(fractions) < LEAST_OVERLAP:
        correlation = same = 0.0
    return Overlap(correlation, same, float(min(fractions)), float(angle))


def refine(left: np.ndarray, right: np.ndarray, matrix: np.ndarray) -> np.ndarray | None:
    """The transform at which the photos correlate most, or None if that is somewhere else."""
    back = cv2.invertAffineTransform(matrix).astype(np.float32)
    try:
        _, back = cv2.findTransformECC(right, left, back, cv2.MOTION_AFFINE, (3, 15, 1e-3), None, 3)
    except cv2.error:  # it does not converge
        return None
    height, width = left.shape
    corners = np.array([[0, 0, width, width], [0, height, 0, height], [1, 1, 1, 1]])
    refined = cv2.invertAffineTransform(back.astype(np.float64))
    return refined if np.abs((refined - matrix) @ corners).max() < REFINED else None


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


def groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Number photos so that those of a pair, and of a chain of pairs, have the same number.

    Parameters
    ----------
    pairs : ndarray (n, 2), int

    Returns
    -------
    ndarray (count,), int32
    """
    edges = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(count, count))
    return connected_components(edges, directed=False)[1]
