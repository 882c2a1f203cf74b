"""The faces of a zip cropped and resized, and augmented samples of those that are trained on."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import arrays, parallel
from facemask.data import images
from facemask.data.archive import Files
from facemask.data.augmentation import Augment, alter, occlude
from facemask.data.boxes import Box, from_columns
from facemask.data.raw import Zip

FACES_A_TASK = 64
READ = ["dataset", "member", "label", "sha256", *Box._fields, "split"]  # the columns that the pixels depend on


def generator(seed: int, face: Any, number: int) -> np.random.Generator:
    """The random generator of one augmented sample of a face."""
    return np.random.default_rng([seed, int(face.sha256, 16), face.left, face.top, number])


def prepare(
    faces: pd.DataFrame, archives: Mapping[str, Files], size: int, augment: Augment, seed: int, samples: int
) -> np.ndarray:
    """Each face followed by its augmented samples: (faces * (1 + samples), size, size, 3), uint8."""
    pixels = []
    for face in faces.itertuples():
        content = archives[face.dataset].read(face.member)
        original = images.cut_out(content, from_columns(face), size)
        pixels.append(original)
        for number in range(1, 1 + samples):
            rng = generator(seed, face, number)
            pixels.append(alter(occlude(original, face.label, augment, rng), augment, rng))
    return np.stack(pixels)


def samples_in(split: str, augment: Augment) -> int:
    """The augmented samples of every face in a split: only the training split has some."""
    return augment.copies if split == "train" else 0


def prepare_zip(
    zipped: Zip, faces: pd.DataFrame, files: dict[str, str], size: int, augment: Augment, seed: int, folder: Path
) -> dict[str, str]:
    """Write the arrays of a zip's faces.

    Parameters
    ----------
    faces : DataFrame
        With the columns `READ`.
    files : dict
        Where to write each split: a path in the folder.

    Returns
    -------
    dict
        The sha256 of each file, by its path in the folder.
    """
    cv2.setNumThreads(1)  # every thread has its own photo
    written = {}
    with zipped.opened() as archive:
        inside = faces.assign(member=faces.member.str.removeprefix(zipped.named("")))
        for split, file in files.items():
            own, samples = inside[inside.split == split], samples_in(split, augment)
            prepared = functools.partial(
                prepare, archives={zipped.dataset: archive}, size=size, augment=augment, seed=seed, samples=samples
            )
            shape = (len(own) * (1 + samples), size, size, 3)
            blocks = parallel.apply(prepared, own, FACES_A_TASK, file.removesuffix(".npy"), "faces")
            written[file] = arrays.write(folder / file, shape, np.uint8, blocks)
    return written
