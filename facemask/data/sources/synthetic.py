"""Synthetic faces: a dataset of three classes that needs no account and no network."""

import io
from pathlib import Path
from typing import Annotated, Literal

import joblib
import numpy as np
from pydantic import Field

from facemask.core.params import Side
from facemask.core.terminal import counted
from facemask.data.archive import write_archive
from facemask.data.sources.dataset import Dataset
from facemask.data.sources.drawing.portrait import draw_face

CLASSES = ("incorrect_mask", "with_mask", "without_mask")


def draw_member(index: int, size: int) -> tuple[str, bytes]:
    """The archive member `CLASS/NUMBER.jpg` and its JPEG bytes, which depend only on index and size."""
    number, which = divmod(index, len(CLASSES))
    picture = draw_face(np.random.default_rng([which, number]), CLASSES[which], size)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=90)
    return f"{CLASSES[which]}/{number:05d}.jpg", jpeg.getvalue()


class Synthetic(Dataset):
    """Synthetic faces: how many, and the side of their pictures in pixels."""

    source: Literal["synthetic"]
    images: Annotated[int, Field(ge=30)]
    size: Side


def fetch(dataset: Synthetic, destination: Path) -> dict[str, str | int | None]:
    """Draw `dataset.images` faces, classes in turn; a larger dataset starts with the faces of a smaller one."""
    work = (joblib.delayed(draw_member)(index, dataset.size) for index in range(dataset.images))
    drawn = joblib.Parallel(n_jobs=joblib.cpu_count(), batch_size=16, return_as="generator")(work)
    write_archive(destination, counted(drawn, "draw", dataset.images, "faces"))
    return {"name": "faces drawn by facemask", "version": None, "licence": "MIT"}
