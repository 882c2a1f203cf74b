"""Make every face the size the network takes, and add altered copies of those that are trained on.

Reads the zip, the other datasets and the manifest; writes a shard a split, uint8, and a contact
sheet. A copy is drawn from (seed, face, number of the copy): order and number of workers do not
matter.
"""

import functools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import replacing
from facemask.core.params import Augment, Params
from facemask.data import images, shards
from facemask.data.archive import Archive, by_source
from facemask.engines import parallel
from facemask.evaluation import figures

FACES_A_TASK = 64
SHEET_FACES, SHEET_COPIES = 5, 6
LUMINANCE = np.array([0.299, 0.587, 0.114])
LEAST_RESOLUTION = 0.1
JPEG_QUALITY = 30, 90
ERASED_SIDE = 0.2, 0.45


def alter(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """One augmented copy of a photo (size, size, 3), uint8: moved, then lit, then degraded as cameras and webs do."""
    moved = move(pixels, augment, rng)
    return degrade(light(moved, augment, rng), augment, rng)


def move(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Rotation, zoom, stretch, shear, flip and shift make one affine map about the centre.

    What it uncovers is filled with the photo's own mirror image.
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


def light(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast about the mean and saturation make one colour matrix."""
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
    """Each with its own probability: fewer pixels, JPEG artefacts, a hidden rectangle."""
    size = len(pixels)
    if rng.random() < augment.low_resolution:
        side = round(size * math.exp(rng.uniform(math.log(LEAST_RESOLUTION), 0)))
        small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < augment.jpeg:
        quality = int(rng.integers(*JPEG_QUALITY))
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    if rng.random() < augment.erase:
        width, height = (round(size * share) for share in rng.uniform(*ERASED_SIDE, 2))
        left, top = rng.integers(0, size - width), rng.integers(0, size - height)
        pixels = pixels.copy()
        pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return pixels


def generator(seed: int, face: Any, copy: int) -> np.random.Generator:
    """The random numbers of one copy of one face."""
    return np.random.default_rng([seed, int(face.sha256, 16), face.left, face.top, copy])


def prepare(faces: pd.DataFrame, archives: dict[str, Archive], settings: Params, copies: int) -> np.ndarray:
    """Each face followed by its altered copies: (faces * (1 + copies), size, size, 3), uint8."""
    pixels = []
    for face in faces.itertuples():
        content = archives[face.source].read(face.member)
        box = (face.left, face.top, face.right, face.bottom)
        original = images.cut_out(content, box, settings.image_size)
        numbers = range(1, 1 + copies)
        pixels += [original, *(alter(original, settings.augment, generator(settings.seed, face, n)) for n in numbers)]
    return np.stack(pixels)


def write_shard(folder: Path, split: str, archives: dict[str, Archive], faces: pd.DataFrame, settings: Params) -> None:
    """Write a split's array and its table; only what is trained on gets copies."""
    copies = settings.augment.copies if split == "train" else 0
    prepared = functools.partial(prepare, archives=archives, settings=settings, copies=copies)
    shape = (len(faces) * (1 + copies), settings.image_size, settings.image_size, 3)
    shards.fill(folder, split, shape, np.uint8, parallel.apply(prepared, faces, FACES_A_TASK, split, "face"))
    table = faces.loc[faces.index.repeat(1 + copies), ["source", "member", "label", "group"]]
    shards.write_rows(folder, split, table.assign(copy=np.tile(np.arange(1 + copies), len(faces))))


def draw_sheet(archives: dict[str, Archive], faces: pd.DataFrame, settings: Params, sheet: Path) -> None:
    """Show what augmentation does to a few training faces, classes in turn."""
    turn = faces.groupby("label").cumcount()
    chosen = faces.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(SHEET_FACES)
    pixels = prepare(chosen, archives, settings, SHEET_COPIES)
    pixels = pixels.reshape(len(chosen), 1 + SHEET_COPIES, *pixels.shape[1:])
    figures.contact_sheet(pixels[:, 0], pixels[:, 1:], sheet)


def main(raw: Path, others: Path, manifest: Path, folder: Path, sheet: Path) -> None:
    settings = params.load()
    faces = pd.read_csv(manifest, dtype=shards.TEXT, keep_default_na=False)
    cv2.setNumThreads(1)
    with by_source(raw, others) as archives:
        with replacing(folder) as partial:
            for split in [*shards.SPLITS, *shards.elsewhere(faces.split)]:
                write_shard(partial, split, archives, faces[faces.split == split], settings)
        draw_sheet(archives, faces[faces.split == "train"], settings, sheet)


if __name__ == "__main__":
    cli.run(main)
