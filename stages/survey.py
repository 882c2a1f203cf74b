"""Look at every photo: which faces are there, of which class, and which photos are near-duplicates of each other.

Reads the datasets and the corrections of labels; writes what each zip holds, a row a face, what cannot be used and why,
a row for every pair of photos that was compared, and a picture of the largest groups. Near-duplicates, whatever their
labels, form a group with all faces of one scene. A zip that is as it was is not looked at again.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, params, parts
from facemask.core.engine import Task
from facemask.core.errors import UserError
from facemask.core.params import Section
from facemask.core.parts import Part
from facemask.core.tables import order, runs, write_csv
from facemask.data import examination, images
from facemask.data.archive import Files
from facemask.data.boxes import Box
from facemask.data.corrections import correct, read_corrections
from facemask.data.examination import REJECT, examine_zip
from facemask.data.faces import Survey, aliases_of
from facemask.data.near_duplicates import features
from facemask.data.near_duplicates.search import names, search
from facemask.data.raw import Zip, by_dataset, zips
from facemask.evaluation import figures

READING = {"classes", "margin", "min_size"}  # the parameters of survey that say what is a face
PHOTOS_AT_HAND = 4096  # in grey, for the pairs to come
SHOWN_GROUPS, SHOWN_FACES, SHOWN_SIZE = 6, 8, 128
PHOTO = ["dataset", "member"]
KEYS = ["sha256", *Box._fields, *PHOTO]  # the search sorts faces by them
FACE = ["dataset", "member", "label", "given", "group", "sha256", *Box._fields, "width", "height"]


class Settings(Section):
    """The parameters that this stage reads."""

    survey: Survey


def check(photos: int, rejects: pd.DataFrame, allowed: float) -> None:
    """Stop where too much of the data is of no use.

    Raises
    ------
    UserError
        With the reasons, if there are no photos or too many were rejected.
    """
    lost = rejects[rejects.kind.isin(["unlabelled", "unreadable"])]
    if photos + len(lost) == 0:
        if rejects.kind.ne("no photo").any():
            counts = ", ".join(f"{count:,} {kind}" for kind, count in rejects.kind.value_counts().items())
            raise UserError(
                f"no marked face can be used ({counts}; the first: {rejects.reason.iloc[0]}); "
                "survey.classes names the labels, survey.min_size the least side"
            )
        raise UserError("the archive holds no images; give a zip or folder of class folders with photos")
    if len(lost) > allowed * (photos + len(lost)):
        first = "; ".join(f"{row.member}: {row.reason}" for row in lost.head(10).itertuples())
        raise UserError(
            f"{len(lost)} of {photos + len(lost)} photos rejected, survey.max_rejected allows {allowed:.1%}; "
            f"the first: {first}"
        )


def reader(faces: pd.DataFrame, archives: dict[str, Files]) -> Callable[[int], np.ndarray]:
    """What reads a face, by its row in the table, in grey."""
    datasets, members, boxes = faces.dataset.array, faces.member.array, faces[[*Box._fields]].to_numpy()

    @functools.lru_cache(PHOTOS_AT_HAND)
    def read_grey(row: int) -> np.ndarray:
        content, box = archives[datasets[row]].read(members[row]), boxes[row].tolist()
        image = images.decode(content).crop(box) if any(box) else images.decode(content, features.SIDE)
        return features.grey(image)

    return read_grey


def draw_groups(
    faces: pd.DataFrame, photos: np.ndarray, groups: np.ndarray, archives: dict[str, Files], path: Path
) -> None:
    """Show the groups with the most photos, with the labels under them; of each face its photo and group, (n,), int."""
    first = np.diff(photos, prepend=-1) > 0
    sizes = np.bincount(groups[first])
    largest = np.argsort(-sizes, kind="stable")[:SHOWN_GROUPS]
    rows = []
    for group in largest[sizes[largest] > 1]:
        members = faces[first & (groups == group)]
        pixels = []
        for face in members.head(SHOWN_FACES).itertuples():
            content = archives[face.dataset].read(face.member)
            pixels.append(images.cut_out(content, None, SHOWN_SIZE))
        rows.append((f"{len(members)} photos", pixels, list(members.label.head(SHOWN_FACES))))
    figures.groups(rows, path)


def main(
    raw: Path, corrections: Path, examined: Path, record: Path, faces: Path, rejects: Path, pairs: Path, groups: Path
) -> str:
    cv2.setNumThreads(1)
    survey = params.load(Settings).survey
    decisions = read_corrections(corrections, aliases_of(survey.classes))
    rules = (
        survey.model_dump(include=READING),
        survey.searched,
        parts.code([examination], images.PACKAGES),
    )

    def reading(one: Zip) -> Part:
        return Part(Task(one.name, lambda: (one, survey), here=not one.shard), parts.key(one.sha256, *rules))

    todo = [reading(one) for one in zips(raw)]
    parts.keep(examined, parts.make(examined, record, todo, examine_zip, "read"))
    table, found, refusals = examination.collected(examined, [part.task.name for part in todo])
    table = correct(table, decisions, corrections)
    if (dropped := table.label.isna()).any():
        found = found.at(np.flatnonzero(~dropped))
        refused = table.loc[dropped, PHOTO].assign(kind="dropped", reason=f"by {corrections}")
        refusals = pd.concat([refusals, refused[REJECT]], ignore_index=True)
        table = table[~dropped].reset_index(drop=True)
    photos = runs(table, PHOTO)
    check(len(np.unique(photos)), refusals, survey.max_rejected)
    sequence = order(table, KEYS)
    ordered = table[KEYS].iloc[sequence].reset_index(drop=True)
    with by_dataset(raw) as archives:
        read_grey = reader(ordered, archives)
        groups_of, compared = search(ordered, photos[sequence], found.at(sequence), read_grey, survey.near_duplicates)
        groups_of = groups_of[np.argsort(sequence)]
        table["group"] = names(ordered, groups_of)
        write_csv(faces, table[FACE])
        write_csv(rejects, refusals)
        write_csv(pairs, compared)
        draw_groups(table, photos, groups_of, archives, groups)
    return f"{len(table):,} faces in {len(np.unique(groups_of)):,} groups; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
