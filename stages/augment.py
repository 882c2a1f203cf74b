"""Crop and resize every face, and add augmented samples of the training faces.

Reads the datasets and the manifest; writes a shard a split, uint8, and a contact sheet. The random generator of a
sample is seeded by (seed, face, number of the sample): order and number of workers do not matter.
"""

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, parallel, params
from facemask.core.errors import UserError
from facemask.core.files import read_csv, replacing
from facemask.core.params import Section, Seed, Side
from facemask.data import images, shards
from facemask.data.archive import Archive, by_dataset
from facemask.data.augmentation import Augment, alter, occlude
from facemask.data.boxes import from_columns
from facemask.evaluation import figures

FACES_A_TASK = 64
SHEET_FACES, SHEET_SAMPLES = 5, 6


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    image_size: Side
    augment: Augment


def generator(seed: int, face: Any, number: int) -> np.random.Generator:
    """The random generator of one augmented sample of a face."""
    return np.random.default_rng([seed, int(face.sha256, 16), face.left, face.top, number])


def prepare(faces: pd.DataFrame, archives: dict[str, Archive], settings: Settings, samples: int) -> np.ndarray:
    """Each face followed by its augmented samples: (faces * (1 + samples), size, size, 3), uint8."""
    pixels = []
    for face in faces.itertuples():
        content = archives[face.dataset].read(face.member)
        original = images.cut_out(content, from_columns(face), settings.image_size)
        pixels.append(original)
        for number in range(1, 1 + samples):
            rng = generator(settings.seed, face, number)
            pixels.append(alter(occlude(original, face.label, settings.augment, rng), settings.augment, rng))
    return np.stack(pixels)


def write_shard(
    folder: Path, split: str, archives: dict[str, Archive], faces: pd.DataFrame, settings: Settings
) -> None:
    """Write a split's array and its table; only the training split is augmented."""
    samples = settings.augment.copies if split == "train" else 0
    prepared = functools.partial(prepare, archives=archives, settings=settings, samples=samples)
    shape = (len(faces) * (1 + samples), settings.image_size, settings.image_size, 3)
    shards.fill(folder, split, shape, np.uint8, parallel.apply(prepared, faces, FACES_A_TASK, split, "faces"))
    table = faces.loc[faces.index.repeat(1 + samples)].drop(columns="split")
    shards.write_rows(folder, split, table.assign(copy=np.tile(np.arange(1 + samples), len(faces))))


def draw_sheet(archives: dict[str, Archive], faces: pd.DataFrame, settings: Settings, sheet: Path) -> None:
    """Draw a contact sheet of a few training faces, classes in turn, with augmented samples."""
    turn = faces.groupby("label").cumcount()
    chosen = faces.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(SHEET_FACES)
    pixels = prepare(chosen, archives, settings, SHEET_SAMPLES)
    pixels = pixels.reshape(len(chosen), 1 + SHEET_SAMPLES, *pixels.shape[1:])
    figures.contact_sheet(pixels[:, 0], pixels[:, 1:], sheet)


def main(raw: Path, manifest: Path, pixels: Path, sheet: Path) -> str:
    settings = params.load(Settings)
    faces = read_csv(manifest)
    if settings.augment.occlude and settings.augment.unmasked not in set(faces.label):
        known = ", ".join(sorted(set(faces.label)))
        raise UserError(f"augment.unmasked: no face is {settings.augment.unmasked}; the classes are {known}")
    cv2.setNumThreads(1)
    with by_dataset(raw) as archives:
        with replacing(pixels) as partial:
            for split in [*shards.SPLITS, *shards.external(faces.split)]:
                write_shard(partial, split, archives, faces[faces.split == split], settings)
        draw_sheet(archives, faces[faces.split == "train"], settings, sheet)
    added = settings.augment.copies * int((faces.split == "train").sum())
    return f"{len(faces):,} faces of {settings.image_size} pixels and {added:,} augmented samples"


if __name__ == "__main__":
    cli.run(main)
