"""PASCAL VOC annotations: an XML file a photo with a labelled box a face."""

import collections
import itertools
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from defusedxml import DefusedXmlException, ElementTree

from facemask.core.errors import UserError
from facemask.data import images
from facemask.data.boxes import Box


def parse(xml: bytes, size: tuple[int, int]) -> list[tuple[str, Box]]:
    """Label and box of every object in a photo.

    Parameters
    ----------
    size : (width, height)
        Of the photo. An annotation that says another one was made before the photo was resized or turned.

    Raises
    ------
    UserError
        If it is not a PASCAL VOC annotation, or of a photo of another size; the message is the reason.
    """
    try:
        root = ElementTree.fromstring(xml)
        if root.tag != "annotation":
            raise UserError(f"no PASCAL VOC annotation: it is <{root.tag}>, not <annotation>")
        marked = tuple(round(float(root.findtext(f"size/{key}") or 0)) for key in ("width", "height"))
        if marked not in ((0, 0), size):
            raise UserError(
                f"marked in a photo of {marked[0]} x {marked[1]} pixels, and this has {size[0]} x {size[1]}"
            )
        return [
            (
                item.findtext("name", ""),
                Box(*(round(float(item.findtext(f"bndbox/{key}"))) for key in ("xmin", "ymin", "xmax", "ymax"))),
            )
            for item in root.findall("object")
        ]
    except (ElementTree.ParseError, DefusedXmlException, LookupError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"no PASCAL VOC annotation: {error}") from None


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
    photos: list[str] = []
    files: list[str] = []
    for name in names:
        (files if name.lower().endswith(".xml") else photos).append(name)
    named = collections.defaultdict(list)
    for photo in photos:
        if PurePosixPath(photo).suffix.lower() in {"", *images.SUFFIXES, *images.UNREAD_SUFFIXES}:
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
