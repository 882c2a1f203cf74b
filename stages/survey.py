"""Look at every photo: which faces are there, of which class, and which photos are near-duplicates of each other.

Reads the datasets and the corrections of labels; writes what each zip holds, a row a face, what cannot be used and why,
a row for every pair of photos that was compared, and a picture of the largest groups. Near-duplicates, whatever their
labels, form a group with all faces of one scene. A zip that is as it was is not looked at again.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, params, parts
from facemask.core.engine import Task
from facemask.core.errors import UserError
from facemask.core.params import Section
from facemask.core.parts import Part
from facemask.core.tables import order, runs, some, write_csv
from facemask.data import examination, images
from facemask.data.archive import Files
from facemask.data.boxes import Box
from facemask.data.corrections import Corrections, check_faces, correct, read_corrections
from facemask.data.examination import REJECT, examine_zip
from facemask.data.faces import Survey, aliases_of
from facemask.data.near_duplicates import features
from facemask.data.near_duplicates.search import names, search
from facemask.data.raw import Zip, by_dataset, zips
from facemask.evaluation import figures

READING = {"classes", "margin", "min_size"}  # the parameters of survey that say what is a face
PHOTOS_AT_HAND = 4096  # in grey, for the pairs to come
SHOWN_REASONS = 5  # of a kind
SHOWN_GROUPS, SHOWN_FACES, SHOWN_SIZE = 6, 8, 128
PHOTO = ["dataset", "member"]
KEYS = ["sha256", *Box._fields, *PHOTO]  # the search sorts faces by them
KEPT = [*KEYS, "features", "dropped"]  # of all faces, in memory
FACE = ["dataset", "member", "label", "given", "group", "sha256", *Box._fields, "width", "height"]


class Settings(Section):
    """The parameters that this stage reads."""

    survey: Survey


def reasons(rejects: pd.DataFrame) -> str:
    """Why photos were rejected: the folders that name no class, and the first of the others, a few of each."""
    unlabelled = rejects[rejects.kind == "unlabelled"]
    folders = unlabelled.member.map(lambda member: str(PurePosixPath(member).parent))
    counts = unlabelled.groupby(["dataset", folders]).size().sort_values(ascending=False, kind="stable")
    listed = []
    for (dataset, folder), count in counts.head(SHOWN_REASONS).items():
        where = "in no folder" if folder == "." else f"in {folder}, which survey.classes does not name"
        listed.append(f"{count:,} of {dataset} {where}")
    others = rejects.drop(index=unlabelled.index)
    listed += [f"{row.member}: {row.reason}" for row in others.head(SHOWN_REASONS).itertuples()]
    return "; ".join([*listed, *(["and more"] if max(len(counts), len(others)) > SHOWN_REASONS else [])])


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
        raise UserError(
            f"{len(lost)} of {photos + len(lost)} photos rejected, survey.max_rejected allows {allowed:.1%}: "
            f"{reasons(lost)}"
        )


def corrected(examined: Path, name: str, decisions: Corrections) -> pd.DataFrame:
    """The faces of a zip with corrected labels, and which of them are to be dropped."""
    table = correct(examination.faces_in(examined, name), decisions)
    return table.assign(dropped=table.label.isna())


def with_groups(tables: Iterable[pd.DataFrame], groups: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The tables of all zips without dropped faces, as `FACE`; groups has an entry a face."""
    start = 0
    for table in tables:
        kept = table[~table.dropped]
        yield kept.assign(group=groups[start : start + len(kept)])[FACE]
        start += len(kept)


def reader(faces: pd.DataFrame, archives: dict[str, Files]) -> Callable[[int], np.ndarray]:
    """What reads a face, by its row in the table, in grey."""
    datasets, members, boxes = faces.dataset.array, faces.member.array, faces[[*Box._fields]].to_numpy()

    @functools.lru_cache(PHOTOS_AT_HAND)
    def read_grey(row: int) -> np.ndarray:
        content, box = archives[datasets[row]].read(members[row]), boxes[row].tolist()
        image = images.decode(content).crop(box) if any(box) else images.decode(content, features.SIDE)
        return features.grey(image)

    return read_grey


def draw_groups(faces: Path, photos: np.ndarray, groups: np.ndarray, archives: dict[str, Files], path: Path) -> None:
    """Show the groups with the most photos, with the labels under them.

    Parameters
    ----------
    faces : Path
        The table of faces.
    photos, groups : ndarray (faces,), int
        Equal for faces of one photo, and of one group.
    """
    first = np.diff(photos, prepend=-1) > 0
    sizes = np.bincount(groups[first])
    largest = [group for group in np.argsort(-sizes, kind="stable")[:SHOWN_GROUPS] if sizes[group] > 1]
    members = {group: np.flatnonzero(first & (groups == group))[:SHOWN_FACES] for group in largest}
    table = some(faces, np.concatenate([np.empty(0, int), *members.values()]))
    rows = []
    for group, own in members.items():
        shown = table.loc[own]
        read = (archives[face.dataset].read(face.member) for face in shown.itertuples())
        pixels = [images.cut_out(content, None, SHOWN_SIZE) for content in read]
        rows.append((f"{sizes[group]} photos", pixels, list(shown.label)))
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
    read = [part.task.name for part in todo]
    table = pd.concat([corrected(examined, name, decisions)[KEPT] for name in read], ignore_index=True)
    check_faces(table, decisions, corrections)
    dropped = table.pop("dropped").to_numpy()
    found = examination.features_in(examined, read, table.pop("features"))
    refused = table.loc[dropped, PHOTO].assign(kind="dropped", reason=f"by {corrections}")
    refusals = pd.concat([examination.rejects_in(examined, read), refused[REJECT]], ignore_index=True)
    table = table.drop(index=np.flatnonzero(dropped))
    photos = runs(table, PHOTO)
    check(len(np.unique(photos)), refusals, survey.max_rejected)
    sequence = order(table, KEYS)
    found = found.at(table.index[sequence].to_numpy())
    table = table.iloc[sequence].reset_index(drop=True)
    with by_dataset(raw) as archives:
        read_grey = reader(table, archives)
        groups_of, compared = search(table, photos[sequence], found, read_grey, survey.near_duplicates)
        groups_of = groups_of[np.argsort(sequence)]
        tables = (corrected(examined, name, decisions) for name in read)
        write_csv(faces, with_groups(tables, names(table, groups_of)))
        write_csv(rejects, refusals)
        write_csv(pairs, compared)
        draw_groups(faces, photos, groups_of, archives, groups)
    return f"{len(table):,} faces in {len(np.unique(groups_of)):,} groups; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
