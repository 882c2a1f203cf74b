"""Scenes with marked faces: read, judged, and kept as shards of equal squares beside a table of their faces."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from facemask.core.errors import UserError
from facemask.core.params import Extent, Float, Section
from facemask.core.tables import read_csv, write_csv
from facemask.data import images, pascal_voc
from facemask.data.archive import Files
from facemask.data.boxes import Box
from facemask.data.faces import aliases_of, simple
from facemask.data.near_duplicates import features

FACE = ["scene", "label", *Box._fields]


class Scenes(Section):
    """The classes and the names they go by, what is a near-duplicate, and how much may be of no use."""

    classes: dict[str, list[str]]
    near_duplicates: Annotated[Float, Field(ge=0.8, le=1)]
    max_rejected: Extent

    @model_validator(mode="after")
    def classified(self) -> "Scenes":
        if not self.classes:
            raise ValueError("classes names none")
        aliases_of(self.classes)
        return self


def objection(box: Box, width: int, height: int) -> tuple[str, str] | None:
    """Why a marked face cannot be in a photo of width x height, as kind and reason; None if it can."""
    if box.right <= box.left or box.bottom <= box.top:
        return "without area", f"a face marked at {tuple(box)}"
    inside = box.within(width, height)
    if inside.right <= inside.left or inside.bottom <= inside.top:
        return "outside", f"a face marked at {tuple(box)} in a photo of {width} x {height} pixels"
    return None


def examine(
    archive: Files, photos: list[tuple[str, str | None]], aliases: dict[str, str]
) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Read some scenes of an archive.

    Parameters
    ----------
    photos : list of (member, annotation)
        An annotation is the member that marks the photo's faces.

    Returns
    -------
    (scenes, rejects)
        member, sha256, width, height, local features and faces, a list of (label, Box), of a scene; member, kind and
        reason of a photo that is left out. One with a mark of another class or in no place is, since that face would be
        taught, and tested, as background.
    """
    scenes, rejects = [], []
    for member, annotation in photos:
        if annotation is None:
            photo = PurePosixPath(member).suffix.lower() in images.SUFFIXES | images.UNREAD_SUFFIXES
            kind = ("unmarked", "no XML file of its name") if photo else ("no photo", "neither photo nor annotation")
            rejects.append((member, *kind))
            continue
        try:
            content = archive.read(member)
            image = images.decode(content)
            marked = pascal_voc.parse(archive.read(annotation), image.size)
        except (images.ImageError, UserError) as error:
            rejects.append((member, "unreadable", str(error)))
            continue
        if others := [name for name, _ in marked if simple(name) not in aliases]:
            rejects.append((member, "of another class", f"one is marked {others[0]!r}, and would count as background"))
            continue
        if reasons := [reason for _, box in marked if (reason := objection(box, *image.size))]:
            rejects.append((member, *reasons[0]))
            continue
        faces = [(aliases[simple(name)], box.within(*image.size)) for name, box in marked]
        scene: dict[str, Any] = {"member": member, "sha256": hashlib.sha256(content).hexdigest(), "faces": faces}
        scene |= {"width": image.width, "height": image.height, "features": features.extract(features.grey(image))}
        scenes.append(scene)
    return scenes, rejects


def write_faces(folder: Path, split: str, faces: pd.DataFrame) -> None:
    """Write the table of a split's faces: `FACE`, scene being the row in the shard, boxes in pixels of the photo."""
    write_csv(folder / f"{split}.faces.csv", faces[FACE])


def read_faces(folder: Path, split: str) -> pd.DataFrame:
    """The table of a split's faces, as `write_faces` wrote it."""
    return read_csv(folder / f"{split}.faces.csv")


def arrays(scenes: pd.DataFrame, faces: pd.DataFrame, classes: list[str]) -> list[np.ndarray]:
    """The faces of every scene in its square, as (faces, 5) float32: class, left, top, right, bottom in pixels."""
    table = np.column_stack([faces.label.map(classes.index), faces[list(Box._fields)]]).astype(np.float32)
    table[:, 1:] *= scenes.scale.to_numpy(np.float32)[faces.scene][:, None]
    order = faces.scene.to_numpy()
    return [table[order == scene] for scene in range(len(scenes))]
