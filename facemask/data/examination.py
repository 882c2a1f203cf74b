"""Every photo of a zip looked at: its faces with their local features, or why it is of no use."""

import functools
import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import arrays, parallel
from facemask.core.errors import UserError
from facemask.core.files import digest
from facemask.core.tables import read_csv, write_csv
from facemask.data import images, pascal_voc
from facemask.data.archive import Archive
from facemask.data.boxes import Box, to_columns
from facemask.data.faces import Survey, aliases_of, folder_class, simple
from facemask.data.near_duplicates import features
from facemask.data.raw import Zip

PHOTOS_A_TASK = 64
FOUND = ["dataset", "member", "label", "sha256", *Box._fields, "width", "height"]
REJECT = ["dataset", "member", "kind", "reason"]


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
        member, label, sha256, box, width, height and, if near-duplicates are searched, local features of a face;
        member, kind and reason of a reject. Every member is in one of them.
    """
    faces, rejects = [], []
    for member, annotation in photos:
        label = folder_class(member, aliases)
        try:
            content = archive.read(member)
            image = images.decode(content, at_least=None if annotation else features.SIDE)
            marked = pascal_voc.parse(archive.read(annotation), image.size) if annotation else [(label or "", None)]
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
                local = features.extract(features.grey(face)) if survey.searched else np.empty(0, features.FEATURE)
                faces.append(found | to_columns(region) | {"features": local})
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
    print(f"{dataset}: {len(archive.names):,} files, {marking:,} of them annotations")
    return faces, rejects


def examine_zip(zipped: Zip, survey: Survey, folder: Path) -> dict[str, str]:
    """Write what is in a zip: `NAME.csv`, a row a face, `NAME.npy`, their features, and `NAME.rejects.csv`.

    Returns
    -------
    dict
        The sha256 of each file, by its name.
    """
    cv2.setNumThreads(1)  # every thread has its own photo
    with zipped.opened() as archive:
        faces, rejects = read(zipped.name, archive, survey)
    table = pd.DataFrame(faces, columns=[*FOUND, "features"])
    refusals = pd.DataFrame(rejects, columns=REJECT)
    extracted = list(table.pop("features"))
    for part in (table, refusals):
        part["dataset"], part["member"] = zipped.dataset, part["member"].map(zipped.named)
    write_csv(folder / f"{zipped.name}.csv", table.assign(features=[len(found) for found in extracted]))
    write_csv(folder / f"{zipped.name}.rejects.csv", refusals)
    count = sum(map(len, extracted))
    sha256 = arrays.write(folder / f"{zipped.name}.npy", (count,), features.FEATURE, extracted)
    tables = (f"{zipped.name}.csv", f"{zipped.name}.rejects.csv")
    return {name: digest(folder / name) for name in tables} | {f"{zipped.name}.npy": sha256}


def faces_in(folder: Path, name: str) -> pd.DataFrame:
    """The faces of a zip that `examine_zip` wrote, `FOUND`, and how many features each has."""
    return read_csv(folder / f"{name}.csv")


def rejects_in(folder: Path, names: list[str]) -> pd.DataFrame:
    """The rejects of several zips that `examine_zip` wrote, `REJECT`."""
    return pd.concat([read_csv(folder / f"{name}.rejects.csv") for name in names], ignore_index=True)


def features_in(folder: Path, names: list[str], counts: pd.Series) -> features.Described:
    """The features of all faces of several zips, so many of each."""
    return features.Described.one_by_one(arrays.joined([str(folder / f"{name}.npy") for name in names]), counts)
