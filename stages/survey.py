"""Look at every photo: which faces are there, of which class, and which photos are near-duplicates of each other.

Reads the datasets and the corrections of labels; writes a row a face, what cannot be used and why, a row for every pair
of photos that was compared, and a picture of the largest groups. Near-duplicates, whatever their labels, form a group
with all faces of one scene.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, parallel, params
from facemask.core.errors import UserError
from facemask.core.files import write_csv
from facemask.core.params import Section
from facemask.data import images, pascal_voc
from facemask.data.archive import Archive, by_dataset
from facemask.data.boxes import Box, to_columns
from facemask.data.corrections import correct, read_corrections
from facemask.data.faces import Survey, aliases_of, folder_class, simple
from facemask.data.near_duplicates import features
from facemask.data.near_duplicates.search import search
from facemask.evaluation import figures

PHOTOS_A_TASK = 64
PHOTOS_AT_HAND = 4096  # in grey, for the pairs to come
SHOWN_GROUPS, SHOWN_FACES, SHOWN_SIZE = 6, 8, 128
FACE = ["dataset", "member", "label", "given", "group", "sha256", *Box._fields, "width", "height"]
REJECT = ["dataset", "member", "kind", "reason"]


class Settings(Section):
    """The parameters that this stage reads."""

    survey: Survey


def examine(
    archive: Archive, photos: list[tuple[str, str | None]], survey: Survey, aliases: dict[str, str]
) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Read some files of an archive.

    Parameters
    ----------
    photos : list of (member, annotation)
        An annotation is the member that marks the photo's faces; without one the photo is a face.

    Returns
    -------
    (faces, rejects)
        member, label, sha256, box, width, height and local features of a face; member, kind and reason of a reject.
        Every member is in one of them.
    """
    faces, rejects = [], []
    for member, annotation in photos:
        label = folder_class(member, aliases)
        try:
            content = archive.read(member)
            image = images.decode(content, at_least=None if annotation else features.SIDE)
            marked = pascal_voc.parse(archive.read(annotation)) if annotation else [(label or "", None)]
        except (images.ImageError, UserError) as error:
            photo = annotation or PurePosixPath(member).suffix.lower() in images.SUFFIXES | images.UNREAD_SUFFIXES
            rejects.append((member, "unreadable" if photo else "no photo", str(error)))
            continue
        if annotation is None and label is None:
            rejects.append((member, "unlabelled", "in no folder that survey.classes names"))
            continue
        if not marked:
            rejects.append((member, "no face", f"{annotation} marks none"))
        digest = hashlib.sha256(content).hexdigest()
        for name, box in marked:
            box = box and box.within(image.width, image.height)
            label = aliases.get(simple(name))
            if label is None:
                rejects.append((member, "of another class", f"a face marked {name!r}"))
            elif box and box.shorter_side < survey.min_size:
                rejects.append(
                    (member, "too small", f"a face of {box.shorter_side} pixels; survey.min_size is {survey.min_size}")
                )
            else:
                region = box and box.widened(survey.margin, image.width, image.height)
                face = image.crop(region) if region else image
                width, height = box.size if box else images.size(content)
                found = {"member": member, "label": label, "sha256": digest, "width": width, "height": height}
                faces.append(found | to_columns(region) | {"features": features.extract(features.grey(face))})
    return faces, rejects


def read(dataset: str, archive: Archive, survey: Survey) -> tuple[list[dict[str, Any]], list[tuple]]:
    """Faces and rejects of a whole archive: every file is in one of them, or marks faces in one that is."""
    faces, rejects = [], []
    photos, strays = pascal_voc.paired(archive.names)
    examined = functools.partial(examine, archive, survey=survey, aliases=aliases_of(survey.classes))
    for seen, refused in parallel.apply(examined, photos, PHOTOS_A_TASK, f"read {dataset}", "files"):
        faces += [{"dataset": dataset, **face} for face in seen]
        rejects += [(dataset, *reject) for reject in refused]
    rejects += [(dataset, name, "no photo", "marks no photo of its name") for name in strays]
    marking = len(archive.names) - len(photos) - len(strays)
    print(f"{dataset}: {len(archive.names):,} files, of which {marking:,} mark the faces of others")
    return faces, rejects


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


def reader(faces: pd.DataFrame, archives: dict[str, Archive]) -> Callable[[int], np.ndarray]:
    """What reads a face, by its row in the table, in grey."""
    places = list(faces[["dataset", "member", *Box._fields]].itertuples(index=False, name=None))

    @functools.lru_cache(PHOTOS_AT_HAND)
    def read_grey(row: int) -> np.ndarray:
        dataset, member, *box = places[row]
        content = archives[dataset].read(member)
        image = images.decode(content).crop(box) if any(box) else images.decode(content, features.SIDE)
        return features.grey(image)

    return read_grey


def draw_groups(faces: pd.DataFrame, archives: dict[str, Archive], path: Path) -> None:
    """Show the groups with the most photos, with the labels under them."""
    photos = faces.drop_duplicates(["dataset", "member"])
    sizes = photos.groupby("group").size()
    largest = sizes[sizes > 1].sort_values(ascending=False, kind="stable").index[:SHOWN_GROUPS]
    rows = []
    for group in largest:
        members = photos[photos.group == group]
        pixels = []
        for face in members.head(SHOWN_FACES).itertuples():
            content = archives[face.dataset].read(face.member)
            pixels.append(images.cut_out(content, None, SHOWN_SIZE))
        rows.append((f"{len(members)} photos", pixels, list(members.label.head(SHOWN_FACES))))
    figures.groups(rows, path)


def main(raw: Path, corrections: Path, faces: Path, rejects: Path, pairs: Path, groups: Path) -> str:
    cv2.setNumThreads(1)  # every thread has its own photo
    survey = params.load(Settings).survey
    decisions = read_corrections(corrections, aliases_of(survey.classes))
    found, refused = [], []
    with by_dataset(raw) as archives:
        for name, archive in archives.items():
            seen, unusable = read(name, archive, survey)
            found += seen
            refused += unusable
        table = pd.DataFrame(found, columns=[*FACE, "features"])
        table, dropped = correct(table, decisions, corrections)
        refused += [(face.dataset, face.member, "dropped", f"by {corrections}") for face in dropped.itertuples()]
        refusals = pd.DataFrame(refused, columns=REJECT)
        check(len(table.drop_duplicates(["dataset", "member"])), refusals, survey.max_rejected)
        table = table.sort_values(["sha256", *Box._fields, "dataset", "member"])
        local = list(table.pop("features"))
        ordered = table.reset_index(drop=True)
        numbers, compared = search(ordered, local, reader(ordered, archives), survey.near_duplicates)
        table["group"] = table.sha256.groupby(numbers).transform("min").str[:16]
        table = table.sort_index()
        write_csv(faces, table[FACE])
        write_csv(rejects, refusals)
        write_csv(pairs, compared)
        draw_groups(table, archives, groups)
    return f"{len(table):,} faces in {table.group.nunique():,} groups; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
