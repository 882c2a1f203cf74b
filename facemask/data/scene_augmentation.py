"""Augmentation of scenes: altered scenes with their faces' boxes.

Faces are (n, 5) float32: class, left, top, right, bottom in pixels. Scenes are square, as `letterbox` makes them.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from facemask.core.params import Extent, Probability
from facemask.data.augmentation import Light, light
from facemask.data.letterbox import GREY

LEAST_SEEN = 0.4  # of a face that the edge cuts; of less there is no telling
LEAST_SIDE = 3  # pixels
JUNCTION = 0.3, 0.7  # where the four scenes of a mosaic meet
PASTED = 1, 4
MARGIN = 0.3  # of a face's size, pasted with it
SIZES = 0.5, 1.5  # of a pasted face, in its own size


class SceneAugment(Light):
    """How far an augmented scene may differ; detection/params.yaml explains each."""

    mosaic: Probability
    mosaic_off: Extent
    zoom: Extent
    flip: bool
    paste: Probability


def visible(faces: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Faces cut at the edges of a region; those of which less than `LEAST_SEEN` is in it are left out."""
    low, high = faces[:, 1:3], faces[:, 3:5]
    cut = faces.copy()
    cut[:, [1, 3]] = np.clip(faces[:, [1, 3]], left, right)
    cut[:, [2, 4]] = np.clip(faces[:, [2, 4]], top, bottom)
    sides = cut[:, 3:5] - cut[:, 1:3]
    seen = sides.prod(axis=1) / np.maximum((high - low).prod(axis=1), 1e-6)
    return cut[(seen >= LEAST_SEEN) & (sides.min(axis=1, initial=np.inf) >= LEAST_SIDE)]


def fitted(
    pixels: np.ndarray, faces: np.ndarray, width: int, height: int, augment: SceneAugment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A scene nearer or further, perhaps mirrored, moved at random behind a window of width x height pixels."""
    side = len(pixels)
    scale = max(width, height) / side * (1 + augment.zoom) ** rng.uniform(-1, 1)
    mirror = augment.flip and rng.random() < 0.5
    across, down = (rng.uniform(min(0, room), max(0, room)) for room in (width - scale * side, height - scale * side))
    matrix = np.array([[-scale, 0, across + scale * side] if mirror else [scale, 0, across], [0, scale, down]])
    if scale < 1:  # averaged, as in `letterbox`: INTER_LINEAR would skip pixels
        pixels = cv2.resize(pixels, (max(1, round(scale * side)),) * 2, interpolation=cv2.INTER_AREA)
    from_smaller = matrix * [side / len(pixels), side / len(pixels), 1]
    moved = cv2.warpAffine(
        pixels, pixel_centres(from_smaller), (width, height), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3
    )
    placed = faces.copy()
    placed[:, [1, 3]] = matrix[0, 0] * faces[:, [3, 1] if mirror else [1, 3]] + matrix[0, 2]
    placed[:, [2, 4]] = scale * faces[:, [2, 4]] + down
    return moved, visible(placed, 0, 0, width, height)


def pixel_centres(matrix: np.ndarray) -> np.ndarray:
    """An affine map of edges, where a pixel begins at 0, as OpenCV's of centres, where it begins at -0.5."""
    moved = matrix.copy()
    moved[:, 2] += 0.5 * matrix[:, :2].sum(axis=1) - 0.5
    return moved


def mosaic(
    scenes: Sequence[tuple[np.ndarray, np.ndarray]], augment: SceneAugment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Four scenes about a junction (YOLOv4, Bochkovskiy et al., 2020): more faces, smaller, in other surroundings."""
    side = len(scenes[0][0])
    x, y = (int(side * rng.uniform(*JUNCTION)) for _ in range(2))
    regions = (0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)
    pixels, faces = np.empty_like(scenes[0][0]), []
    for scene, (left, top, right, bottom) in zip(scenes, regions, strict=True):
        part, found = fitted(*scene, right - left, bottom - top, augment, rng)
        pixels[top:bottom, left:right] = part
        found[:, [1, 3]] += left
        found[:, [2, 4]] += top
        faces.append(found)
    return pixels, np.concatenate(faces)


def covered(faces: np.ndarray, box: np.ndarray) -> float:
    """The largest fraction of any face that a box (4,) lies on."""
    low, high = np.maximum(faces[:, 1:3], box[:2]), np.minimum(faces[:, 3:5], box[2:])
    fractions = np.clip(high - low, 0, None).prod(axis=1) / (faces[:, 3:5] - faces[:, 1:3]).prod(axis=1)
    return float(fractions.max(initial=0))


def paste(
    pixels: np.ndarray, faces: np.ndarray, source: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Some faces of another scene, with soft edges, where no face is (copy-paste: Ghiasi et al., 2021)."""
    side, (other, others) = len(pixels), source
    pixels, pasted = pixels.copy(), [faces]
    for number in rng.permutation(len(others))[: rng.integers(*PASTED)]:
        face = others[number]
        reach = MARGIN * (face[3:] - face[1:3])
        left, top = np.clip(np.floor(face[1:3] - reach), 0, side).astype(int)
        right, bottom = np.clip(np.ceil(face[3:] + reach), 0, side).astype(int)
        scale = math.exp(rng.uniform(*np.log(SIZES)))
        width, height = (max(2, round(scale * length)) for length in (right - left, bottom - top))
        neighbours = np.delete(others, number, axis=0)  # which would be pasted with it, unlabelled
        if max(width, height) >= side or covered(neighbours, np.array([left, top, right, bottom])) >= LEAST_SEEN:
            continue
        x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
        if covered(np.concatenate(pasted), np.array([x, y, x + width, y + height])) > 0:
            continue
        patch = cv2.resize(other[top:bottom, left:right], (width, height), interpolation=cv2.INTER_AREA)
        opacity = soft_ellipse(width, height)
        region = pixels[y : y + height, x : x + width]
        region[...] = opacity * patch + (1 - opacity) * region
        ratio = np.array([width / (right - left), height / (bottom - top)])  # of whole pixels
        shift = np.array([x, y]) - ratio * [left, top]
        pasted.append(np.array([[face[0], *(ratio * face[1:3] + shift), *(ratio * face[3:] + shift)]], np.float32))
    return pixels, visible(np.concatenate(pasted), 0, 0, side, side)


def soft_ellipse(width: int, height: int) -> np.ndarray:
    """Opacity (height, width, 1): 1 in an ellipse about the face, 0 at the edges."""
    x, y = ((np.arange(length) + 0.5) / length * 2 - 1 for length in (width, height))
    return np.clip((1.05 - np.hypot(x[None], y[:, None])) / 0.2, 0, 1)[..., None]


def alter(
    scene: tuple[np.ndarray, np.ndarray],
    others: Sequence[tuple[np.ndarray, np.ndarray]],
    augment: SceneAugment,
    with_mosaic: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One augmented scene.

    Parameters
    ----------
    scene : (pixels, faces)
        (size, size, 3) uint8, and its faces.
    others : sequence of four such scenes
        Three to complete a mosaic, and one whose faces are pasted in.
    with_mosaic : bool
        Whether there may be one.
    """
    if with_mosaic and rng.random() < augment.mosaic:
        pixels, faces = mosaic([scene, *others[:3]], augment, rng)
    else:
        pixels, faces = fitted(*scene, len(scene[0]), len(scene[0]), augment, rng)
    if rng.random() < augment.paste:
        pixels, faces = paste(pixels, faces, others[3], rng)
    return light(pixels, augment, rng), faces
