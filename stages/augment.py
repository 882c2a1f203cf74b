"""Make every photo the size the network takes, and add altered copies of the training photos.

Reads the zip and the manifest; writes a shard a split, uint8, and a contact sheet. A copy is drawn
from (seed, photo, number of the copy): order and number of workers do not matter.
"""

import math
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from facemask import cli, figures, images, params, shards
from facemask.archive import kept_open
from facemask.params import Augment
from facemask.reproducible import replacing

PHOTOS_A_TASK = 64
SHEET_PHOTOS, SHEET_COPIES = 5, 6


def alter(pixels: np.ndarray, augment: Augment, rng: np.random.Generator) -> np.ndarray:
    """One augmented copy of a photo (size, size, 3), uint8.

    Rotation, zoom, shear, flip and shift make one affine map about the centre; what it uncovers
    is filled with the photo's own mirror image.
    """
    size = len(pixels)
    turn = math.radians(rng.uniform(-augment.rotation, augment.rotation))
    lean = math.tan(math.radians(rng.uniform(-augment.shear, augment.shear)))
    scale = 1 + rng.uniform(-augment.zoom, augment.zoom)
    shift = rng.uniform(-augment.shift, augment.shift, 2) * size
    mirror = -1 if augment.flip and rng.random() < 0.5 else 1
    gain = 1 + rng.uniform(-augment.brightness, augment.brightness)
    rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = scale * rotate @ np.array([[1, lean], [0, 1]]) @ np.diag([mirror, 1])
    centre = np.full(2, (size - 1) / 2)
    affine = np.column_stack([linear, centre + shift - linear @ centre])
    moved = cv2.warpAffine(pixels, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cv2.convertScaleAbs(moved, alpha=gain)


def generator(seed: int, sha256: str, copy: int) -> np.random.Generator:
    """The random numbers of one copy of one photo."""
    return np.random.default_rng([seed, int(sha256, 16), copy])


def versions(content: bytes, sha256: str, size: int, copies: int, augment: Augment, seed: int) -> np.ndarray:
    """A photo and its copies: (1 + copies, size, size, 3), uint8."""
    photo = images.resize(images.decode(content, at_least=size), size)
    return np.stack([photo, *(alter(photo, augment, generator(seed, sha256, n + 1)) for n in range(copies))])


def prepare(raw: Path, photos: pd.DataFrame, size: int, copies: int, augment: Augment, seed: int) -> np.ndarray:
    """The versions of some photos, one after the other."""
    cv2.setNumThreads(1)
    archive = kept_open(raw, raw.stat().st_mtime_ns)
    return np.concatenate(
        [
            versions(archive.read(photo.member), photo.sha256, size, copies, augment, seed)
            for photo in photos.itertuples()
        ]
    )


def write_shard(folder: Path, split: str, raw: Path, photos: pd.DataFrame, settings: params.Params) -> None:
    """Write a split's array and its table; only training photos get copies."""
    size, augment = settings.image_size, settings.augment
    copies = augment.copies if split == "train" else 0
    pixels = shards.create(folder, split, (len(photos) * (1 + copies), size, size, 3), np.uint8)
    parts = [photos[start : start + PHOTOS_A_TASK] for start in range(0, len(photos), PHOTOS_A_TASK)]
    work = (joblib.delayed(prepare)(raw.absolute(), part, size, copies, augment, settings.seed) for part in parts)
    filled = 0
    with tqdm(total=len(photos), desc=split, unit="photo") as progress:
        for part in joblib.Parallel(n_jobs=joblib.cpu_count(), return_as="generator")(work):
            pixels[filled : filled + len(part)] = part
            filled += len(part)
            progress.update(len(part) // (1 + copies))
    pixels.flush()
    table = photos.loc[photos.index.repeat(1 + copies), ["member", "label"]]
    shards.write_rows(folder, split, table.assign(copy=np.tile(np.arange(1 + copies), len(photos))))


def draw_sheet(raw: Path, photos: pd.DataFrame, settings: params.Params, sheet: Path) -> None:
    """Show what augmentation does to a few training photos, classes in turn."""
    turn = photos.groupby("label").cumcount()
    chosen = photos.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(SHEET_PHOTOS)
    pixels = prepare(raw, chosen, settings.image_size, SHEET_COPIES, settings.augment, settings.seed)
    pixels = pixels.reshape(len(chosen), 1 + SHEET_COPIES, *pixels.shape[1:])
    figures.contact_sheet(pixels[:, 0], pixels[:, 1:], sheet)


def main(raw: Path, manifest: Path, folder: Path, sheet: Path) -> None:
    settings = params.load()
    photos = pd.read_csv(manifest, dtype={"member": str, "label": str}, keep_default_na=False)
    with replacing(folder) as partial:
        for split in shards.SPLITS:
            write_shard(partial, split, raw, photos[photos.split == split], settings)
    draw_sheet(raw, photos[photos.split == "train"], settings, sheet)


if __name__ == "__main__":
    cli.run(main)
