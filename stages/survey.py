"""Look at every photo: which faces are there, of which class, and which photos are near-duplicates of each other.

Reads the datasets; writes a row a face, what cannot be used and why, a row for every pair of photos that was compared,
and a picture of the largest groups. Near-duplicates, whatever their labels, form a group with all faces of one scene.
"""

import collections
import functools
import hashlib
import itertools
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
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
from facemask.data.near_duplicates import Limits
from facemask.engines import parallel
from facemask.evaluation import figures

PHOTOS_A_TASK = 64
PAIRS_A_TASK = 64
PHOTOS_AT_HAND = 4096  # in grey, for the pairs to come
SAMPLE, NEAREST = 500, 5  # photos whose nearest others are compared once more, with looser limits
LOOSER = 0.05  # and how much lower a correlation they may have
SHOWN_GROUPS, SHOWN_FACES, SHOWN_SIZE = 6, 8, 128
FACE = ["dataset", "member", "label", "group", "sha256", *Box._fields]
REJECT = ["dataset", "member", "kind", "reason"]
PAIR = ["step", "kind", "correlation", "left_dataset", "left_member", "right_dataset", "right_member"]


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
        member, label, sha256, box and local features of a face; member, kind and reason of a reject. Every
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
                features = near_duplicates.features(near_duplicates.grey(face))
                faces.append(found | to_columns(region) | {"features": features})
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


def reader(faces: pd.DataFrame, archives: dict[str, Archive]) -> Callable[[int], np.ndarray]:
    """What reads a face, by its row in the table, in grey."""

    @functools.lru_cache(PHOTOS_AT_HAND)
    def read_grey(row: int) -> np.ndarray:
        face = faces.iloc[row]
        content, box = archives[face.dataset].read(face.member), tuple(face[list(Box._fields)])
        image = images.decode(content).crop(box) if any(box) else images.decode(content, near_duplicates.SIDE)
        return near_duplicates.grey(image)

    return read_grey


def verify(
    pairs: np.ndarray, features: list[np.ndarray], read_grey: Callable, limits: Limits, correlation: float
) -> list[tuple[int, int, str, float]]:
    """Compare candidates: left row, right row, kind or nothing, and correlation of those that can be aligned."""
    compared = []
    for left, right, flip in pairs.tolist():
        other = near_duplicates.mirrored(features[right]) if flip else features[right]
        matrix = near_duplicates.align(features[left], other, limits)
        if matrix is not None:
            pixels = read_grey(right)[:, ::-1] if flip else read_grey(right)
            overlap = near_duplicates.compare(read_grey(left), pixels, matrix)
            kind = near_duplicates.kind(overlap, bool(flip), correlation)
            compared.append((left, right, kind, overlap.correlation))
    return compared


def search(
    faces: pd.DataFrame, features: list[np.ndarray], archives: dict[str, Archive], correlation: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """Find near-duplicates, and sample what the search may have left.

    Parameters
    ----------
    faces : DataFrame
        In an order that does not depend on their names; on it depends which pairs are looked at.
    features : list of ndarray (n,), near_duplicates.FEATURE
        Of every face.
    correlation : float
        From which on two photos are near-duplicates; 1 if only identical files are.

    Returns
    -------
    (groups, pairs)
        The number of every face's group; `PAIR` of every pair that was compared.
    """
    scene = faces.groupby(["dataset", "member"], sort=False).ngroup().to_numpy()
    first = faces.groupby(["sha256", *Box._fields], sort=False).ngroup().drop_duplicates().index.to_numpy()
    same_file = faces.drop_duplicates(["dataset", "member"]).groupby("sha256", sort=False)
    identical = [(rows[0], row, "identical", 1.0) for rows in same_file.groups.values() for row in rows[1:]]
    links = [np.stack([pd.Series(range(len(faces))).groupby(scene).transform("min"), np.arange(len(faces))], axis=1)]
    links.append(np.array([pair[:2] for pair in identical], int).reshape(-1, 2))
    groups = near_duplicates.groups(len(faces), np.concatenate(links))
    found, sample = [], []
    if correlation < 1:
        known, read_grey = [features[row] for row in first], reader(faces, archives)

        def verified(pairs: np.ndarray, limits: Limits, least: float, title: str) -> list[tuple[int, int, str, float]]:
            rows = np.stack([first[pairs[:, 0]], first[pairs[:, 1]], pairs[:, 2]], axis=1)
            rows = rows[groups[rows[:, 0]] != groups[rows[:, 1]]]
            task = functools.partial(verify, features=features, read_grey=read_grey, limits=limits, correlation=least)
            return list(itertools.chain(*parallel.apply(task, rows, PAIRS_A_TASK, title, "pairs")))

        found = verified(near_duplicates.candidates(known), Limits(), correlation, "compare")
        links.append(np.array([pair[:2] for pair in found if pair[2]], int).reshape(-1, 2))
        groups = near_duplicates.groups(len(faces), np.concatenate(links))
        nearest = near_duplicates.nearest(known, SAMPLE, NEAREST)
        beyond = verified(nearest, near_duplicates.LOOSER, correlation - LOOSER, "sample")
        sample = best_of_each(first[:SAMPLE], beyond)
    rows = [("search", *pair) for pair in identical + found] + [("sample", *pair) for pair in sample]
    return groups, named(faces, rows)


def best_of_each(photos: Iterable[int], compared: list[tuple[int, int, str, float]]) -> list[tuple]:
    """A photo's nearest other, or itself with a correlation of 0 if none can be aligned with it."""
    best = {photo: (photo, photo, "", 0.0) for photo in photos}
    for pair in compared:
        best[pair[0]] = max(best[pair[0]], pair, key=lambda one: (one[2] != "", one[3]))
    return list(best.values())


def named(faces: pd.DataFrame, pairs: list[tuple[str, int, int, str, float]]) -> pd.DataFrame:
    """Pairs of rows as `PAIR`."""
    table = pd.DataFrame(pairs, columns=["step", "left", "right", "kind", "correlation"])
    for side in ("left", "right"):
        for key in ("dataset", "member"):
            table[f"{side}_{key}"] = faces[key].to_numpy()[table[side].to_numpy(int)]
    return table.assign(correlation=table.correlation.astype(float).round(4))[PAIR]


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


def main(raw: Path, faces: Path, rejects: Path, pairs: Path, groups: Path) -> str:
    cv2.setNumThreads(1)  # every thread has its own photo
    survey = params.load(Settings).survey
    found, refused = [], []
    with by_dataset(raw) as archives:
        for name, archive in archives.items():
            seen, unusable = read(name, archive, survey)
            found += seen
            refused += unusable
        table, refusals = pd.DataFrame(found, columns=[*FACE, "features"]), pd.DataFrame(refused, columns=REJECT)
        check(len(table.drop_duplicates(["dataset", "member"])), refusals, survey.max_rejected)
        table = table.sort_values(["sha256", *Box._fields, "dataset", "member"])
        features = list(table.pop("features"))
        numbers, compared = search(table.reset_index(drop=True), features, archives, survey.near_duplicates)
        table["group"] = table.sha256.groupby(numbers).transform("min").str[:16]
        table = table.sort_index()
        write_csv(faces, table[FACE])
        write_csv(rejects, refusals)
        write_csv(pairs, compared)
        draw_groups(table, archives, groups)
    return f"{len(table):,} faces in {table.group.nunique():,} groups; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
