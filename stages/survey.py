"""Look at every photo once: which faces are there, of which class, and which are copies of each other.

Reads the datasets; writes a row a face, what cannot be used and why, and a
picture of the largest groups. Copies of one photo, exact or near, whatever their labels, form a
group with all faces of one scene.
"""

import collections
import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import write_csv
from facemask.core.params import Section
from facemask.data import images, near_duplicates, pascal_voc
from facemask.data.archive import Archive, by_dataset
from facemask.data.boxes import Box, to_columns
from facemask.data.faces import Survey, aliases_of, simple
from facemask.engines import parallel
from facemask.evaluation import figures

PHOTOS_A_TASK = 64
SHOWN_GROUPS, SHOWN_FACES, SHOWN_SIZE = 6, 8, 128
FACE = ["dataset", "member", "label", "group", "sha256", *Box._fields]
REJECT = ["dataset", "member", "kind", "reason"]


class Settings(Section):
    """The parameters that this stage reads."""

    survey: Survey


def folder_class(member: str, aliases: dict[str, str]) -> str | None:
    """The class of the innermost folder that names one."""
    folders = PurePosixPath(member).parent.parts
    return next((aliases[simple(folder)] for folder in reversed(folders) if simple(folder) in aliases), None)


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
        member, label, sha256, box and fingerprint of a face; member, kind and reason of a reject. Every
        member is in one of them.
    """
    faces, rejects = [], []
    for member, annotation in photos:
        label = folder_class(member, aliases)
        try:
            content = archive.read(member)
            image = images.decode(content, at_least=None if annotation else near_duplicates.SIDE)
            marked = pascal_voc.parse(archive.read(annotation)) if annotation else [(label, None)]
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
                found = {"member": member, "label": label, "sha256": digest}
                faces.append(found | to_columns(region) | {"fingerprint": near_duplicates.fingerprint(face)})
    return faces, rejects


def nearest(one: str, others: Iterable[str]) -> list[str]:
    """Those of several members that share the most folders with one."""

    def shared(other: str) -> int:
        folders = zip(PurePosixPath(one).parent.parts, PurePosixPath(other).parent.parts, strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], folders))

    near = {other: shared(other) for other in others}
    return [other for other, folders in near.items() if folders == max(near.values())]


def paired(names: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Find the photo that each XML file marks: of those of its name the nearest, and of several files the nearest.

    Returns
    -------
    (photos, strays)
        What may be a photo, each with its XML file if there is one; and the XML files that mark no photo.

    Raises
    ------
    UserError
        If it cannot be told which file marks which photo.
    """
    photos, files = [], []
    for name in names:
        (files if name.lower().endswith(".xml") else photos).append(name)
    named = collections.defaultdict(list)
    for photo in photos:
        if PurePosixPath(photo).suffix.lower() in {"", *images.SUFFIXES}:
            named[unicodedata.normalize("NFC", PurePosixPath(photo).stem)].append(photo)
    marks = collections.defaultdict(list)
    for file in files:
        near = nearest(file, named[unicodedata.normalize("NFC", PurePosixPath(file).stem)])
        if len(near) > 1:
            raise UserError(f"{file} may mark the faces of both {near[0]} and {near[1]}; move it beside one of them")
        for photo in near:
            marks[photo].append(file)
    pairs = dict.fromkeys(photos)
    for photo, candidates in marks.items():
        near = nearest(photo, candidates)
        if len(near) > 1:
            raise UserError(f"{near[0]} and {near[1]} may both mark the faces of {photo}; keep one of them")
        pairs[photo] = near[0]
    return list(pairs.items()), sorted(set(files) - set(pairs.values()))


def read(dataset: str, archive: Archive, survey: Survey) -> tuple[list[dict[str, Any]], list[tuple[str, ...]]]:
    """Faces and rejects of a whole archive: every file is in one of them, or marks faces in one that is."""
    faces, rejects = [], []
    photos, strays = paired(archive.names)
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


def grouped(faces: pd.DataFrame, fingerprints: np.ndarray, distance: int) -> pd.Series:
    """The group of every face: the beginning of the smallest sha256 in it, whatever the order of the faces."""
    near = near_duplicates.groups(fingerprints, distance) if distance else np.arange(len(faces))
    scene = faces.groupby(["dataset", "member"], sort=False).ngroup().to_numpy()
    exact = faces.groupby("sha256", sort=False).ngroup().to_numpy()
    numbers = near_duplicates.merged(near, scene, exact)
    return faces.sha256.groupby(numbers).transform("min").str[:16]


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


def main(raw: Path, faces: Path, rejects: Path, groups: Path) -> str:
    survey = params.load(Settings).survey
    found, refused = [], []
    with by_dataset(raw) as archives:
        for name, archive in archives.items():
            seen, unusable = read(name, archive, survey)
            found += seen
            refused += unusable
        table, refusals = pd.DataFrame(found, columns=[*FACE, "fingerprint"]), pd.DataFrame(refused, columns=REJECT)
        check(len(table.drop_duplicates(["dataset", "member"])), refusals, survey.max_rejected)
        table["group"] = grouped(table, np.stack(table.pop("fingerprint")), survey.copy_distance)
        write_csv(faces, table[FACE])
        write_csv(rejects, refusals)
        draw_groups(table, archives, groups)
    return f"{len(table):,} faces in {table.group.nunique():,} groups; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
