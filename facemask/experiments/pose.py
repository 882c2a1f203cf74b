"""Add the column `pose` to attributes.csv, so that `evaluate` scores its slices: make pose.

Estimated from YuNet's landmarks: how far the tip of the nose is from the middle between the eyes, along the line of the
eyes and by their distance. 0 is a frontal face; from about 1 on one eye is hidden.
"""

import functools
import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, parallel
from facemask.core.tables import read_csv, write_csv
from facemask.data import images
from facemask.data.archive import Files
from facemask.data.boxes import from_columns
from facemask.data.corrections import KEY
from facemask.data.raw import by_dataset
from facemask.data.slices import read_table
from facemask.inference.detectors import Face
from facemask.inference.detectors.yunet import YuNet

FACES_A_TASK = 64
SIZES = (128, 256)  # pixels: the face fills the picture
TURNED, PROFILE = 0.25, 0.75
UNKNOWN = "no landmarks"


def turn(face: Face) -> float:
    """The distance of the nose from the middle between the eyes, by the distance of the eyes, from 0 on."""
    one, other, nose = (np.array(place) for place in face.landmarks[:3])
    between = other - one
    return float(abs((nose - (one + other) / 2) @ between) / max(between @ between, 1e-6))


def pose(faces: list[Face]) -> str:
    """The pose of the largest of the faces in a picture."""
    if not faces:
        return UNKNOWN
    largest = max(faces, key=lambda face: face.box.shorter_side if face.box else 0)
    return ("frontal", "turned", "profile")[np.searchsorted((TURNED, PROFILE), turn(largest), side="right")]


def poses(faces: pd.DataFrame, archives: dict[str, Files], weights: Path | None) -> list[str]:
    """The pose of each face of the manifest."""
    detect = YuNet(weights, SIZES)
    found = []
    for face in faces.itertuples():
        picture = images.decode(archives[face.dataset].read(face.member))
        box = from_columns(face)
        found.append(pose(detect(np.asarray(picture.crop(box) if box else picture))))
    return found


def main(raw: Path, manifest: Path, attributes: Path, yunet: str = "") -> str:
    faces = read_csv(manifest)
    with by_dataset(raw) as archives:
        estimate = functools.partial(poses, archives=archives, weights=Path(yunet) if yunet else None)
        parts = list(parallel.apply(estimate, faces, FACES_A_TASK, "pose", "faces"))
    table = faces[KEY].astype(str).assign(pose=[*itertools.chain(*parts)]).drop_duplicates(KEY)
    others = read_table(attributes).drop(columns="pose", errors="ignore")
    others = others[others.drop(columns=KEY).ne("").any(axis=1)]  # not faces of which the pose alone was known
    write_csv(attributes, table.merge(others, on=KEY, how="outer").fillna(""))
    counts = ", ".join(f"{count:,} {name}" for name, count in table.pose.value_counts().items())
    return f"{counts}, in {attributes}"


if __name__ == "__main__":
    cli.run(main)
