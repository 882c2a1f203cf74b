"""Label the faces in photos.

Results go to standard output, a photo a line (--format), as soon as they are known and in the order of the paths;
progress and errors go to standard error. A photo without a face is not an error.

exit status:
  0  every photo was read
  1  error, reported in one line
  2  wrong command line
  3  some photos could not be read, or their annotated copies not written
"""

import argparse
import csv
import functools
import glob
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from facemask.core.errors import UserError
from facemask.core.files import files_in
from facemask.core.parallel import cores, in_order
from facemask.data.archive import MAX_PHOTO_BYTES, Archive
from facemask.data.images import SUFFIXES, UNREAD_SUFFIXES, ImageError, decode
from facemask.inference.commands import recognition_arguments, recognizer
from facemask.inference.recognition import LabelledFace, Recognizer

DETECTOR_SIZES = [320, 640]
MARK = ".facemask"  # in a folder of annotated copies, which may be written again
OPEN_ZIPS = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    recognition_arguments(parser, DETECTOR_SIZES)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="a photo, a folder (with its subfolders), a zip, or a quoted pattern"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER",
        help="write annotated copies to this folder, new or empty or of an earlier call",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=WRITERS, default="text",
        help="text; json: an object a line; csv: a row a face, and one for a photo without faces (%(default)s)",
    )  # fmt: skip


class Photo(NamedTuple):
    """A photo: its name, the relative path of its annotated copy, and a function that reads it."""

    name: str
    place: PurePosixPath
    read: Callable[[], bytes]


class Result(NamedTuple):
    """The result for a photo: its faces, or why it could not be read."""

    photo: str
    faces: list[LabelledFace]
    error: str | None = None


def main(args: argparse.Namespace) -> int:
    """Label all photos; return the exit status."""
    opened.cache_clear()  # a zip may have changed since an earlier call
    photos = [photo for path in args.paths for photo in photos_of(path, args.output)]
    if not photos:
        raise UserError(f"there are no photos in {', '.join(args.paths)}; supported are {' '.join(sorted(SUFFIXES))}")
    workers = min(cores(), len(photos))
    recognize = recognizer(args, workers)
    copies = places(photos, args.output) if args.output else [None] * len(photos)
    unread = 0
    write = WRITERS[args.format](recognize.classifier.classes)
    with tqdm(total=len(photos), unit="photo", disable=None if len(photos) > 1 else True) as progress:
        work = zip(photos, copies, strict=True)
        for result in in_order(functools.partial(look, recognize=recognize), work, workers):
            with progress.external_write_mode(file=sys.stdout):
                write(result)
                sys.stdout.flush()
                if result.error:
                    print(f"facemask predict: {result.photo}: {result.error}; skipped", file=sys.stderr)
            unread += result.error is not None
            progress.update()
    return 3 if unread else 0


def photos_of(name: str, output: Path | None) -> Iterator[Photo]:
    """The photos that an argument names, sorted; of a folder, without those in the output folder.

    Photos in formats that cannot be read are among them, so that none is left out silently.

    Raises
    ------
    UserError
        If there is nothing of that name, or it is a folder in the output folder, or one that `files_in` refuses.
    """
    path = Path(name)
    if path.is_dir():
        own = output.resolve() if output else None
        if own in (path.resolve(), *path.resolve().parents):
            raise UserError(
                f"--output: {name} is in {output}, which is for annotated copies; name another folder, "
                f"for example {path / 'annotated'}"
            )
        for file in files_in(path):
            if file.suffix.lower() in SUFFIXES | UNREAD_SUFFIXES and own not in file.resolve().parents:
                yield of_file(file, PurePosixPath(file.relative_to(path)))
    elif path.is_file() and path.suffix.lower() == ".zip":
        with Archive(path) as archive:
            known = SUFFIXES | UNREAD_SUFFIXES
            members = [one for one in archive.names if PurePosixPath(one).suffix.lower() in known]
        for member in members:
            yield Photo(f"{name}/{member}", PurePosixPath(member), functools.partial(read_member, path, member))
    elif path.exists():
        yield of_file(path, PurePosixPath(path.name))
    elif found := sorted({*glob.glob(name, recursive=True)} - {name}):  # noqa: PTH207 (the pattern may be absolute)
        for match in found:
            yield from photos_of(match, output)
    else:
        raise UserError(f"there is no file or folder {name}")


@functools.lru_cache(OPEN_ZIPS)
def opened(path: Path) -> Archive:
    """A zip, which stays open for the photos to come."""
    return Archive(path)


def read_member(path: Path, member: str) -> bytes:
    """A photo in a zip."""
    return opened(path).read(member)


def of_file(file: Path, place: PurePosixPath) -> Photo:
    """A photo on disk."""

    def read() -> bytes:
        if not file.is_file():
            raise ImageError("not a file")
        with file.open("rb") as opened:
            content = opened.read(MAX_PHOTO_BYTES + 1)
        if len(content) > MAX_PHOTO_BYTES:
            raise ImageError(f"more than {MAX_PHOTO_BYTES:,} bytes")
        return content

    return Photo(str(file), place, read)


def places(photos: list[Photo], folder: Path) -> list[Path]:
    """The paths of the annotated copies: all different, and none that of a file which is no such copy.

    Raises
    ------
    UserError
        If the folder holds other files.
    OSError
        If it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / MARK).exists():
        raise UserError(f"--output: {folder} holds other files, which copies could overwrite; name a new folder")
    (folder / MARK).touch()
    taken = {Path(photo.name).resolve() for photo in photos}
    chosen = []
    for photo in photos:
        suffix = photo.place.suffix if photo.place.suffix.lower() in SUFFIXES else f"{photo.place.suffix}.jpg"
        wanted = folder / photo.place.with_suffix(suffix)
        place, number = wanted, 1
        while place.resolve() in taken:
            number += 1
            place = wanted.with_stem(f"{wanted.stem}-{number}")
        taken.add(place.resolve())
        chosen.append(place)
    return chosen


def look(work: tuple[Photo, Path | None], recognize: Recognizer) -> Result:
    """Read a photo, label its faces and write the annotated copy."""
    photo, copy = work
    try:
        image = decode(photo.read())
    except (ImageError, UserError) as error:
        return Result(photo.name, [], str(error))
    except OSError as error:
        return Result(photo.name, [], error.strerror or str(error))
    pixels = np.asarray(image)
    faces = recognize(pixels)
    if copy:
        from facemask.inference.drawing import draw

        drawn = pixels.copy()
        draw(drawn, faces, recognize.classifier.classes)
        try:
            content = encode(drawn, copy.suffix)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        except ImageError as error:
            return Result(photo.name, [], str(error))
        except OSError as error:
            return Result(photo.name, [], f"{copy} cannot be written: {error.strerror or error}")
    return Result(photo.name, faces)


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    """Encode uint8 RGB pixels (height, width, 3) in the format of a suffix.

    Raises
    ------
    ImageError
        If the format does not support so many pixels.
    """
    file, kind = io.BytesIO(), Image.registered_extensions()[suffix.lower()]
    try:
        Image.fromarray(pixels).save(file, kind)
    except Exception as error:  # Pillow's encoders raise many kinds
        height, width = pixels.shape[:2]
        raise ImageError(f"a copy of {width} x {height} pixels cannot be written as {kind}: {error}") from None
    return file.getvalue()


def text_writer(classes: list[str]) -> Callable[[Result], None]:
    """Plain text."""

    def write(result: Result) -> None:
        if result.error is None:
            faces = [f"{face.label} {face.probability:.2f}" if face.label else "too small" for face in result.faces]
            print(f"{result.photo}: {', '.join(faces) or 'no face'}")

    return write


def json_writer(classes: list[str]) -> Callable[[Result], None]:
    """JSON lines: photo, and faces (as `LabelledFace.described`) or error."""

    def write(result: Result) -> None:
        found = {"faces": [face.described() for face in result.faces]} if result.error is None else {}
        error = {"error": result.error} if result.error else {}
        print(json.dumps({"photo": result.photo} | found | error, ensure_ascii=False))

    return write


def csv_writer(classes: list[str]) -> Callable[[Result], None]:
    """CSV: a row a face; a photo without faces has one row, with empty columns."""
    columns = ["photo", "left", "top", "right", "bottom", "score", "label", "probability"]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow([*columns, *(f"p_{name}" for name in classes), "error"])

    def write(result: Result) -> None:
        for face in (face.described() for face in result.faces):
            probabilities = (face["probabilities"].get(name) for name in classes)
            table.writerow(
                [result.photo, *face["box"], face["score"], face["label"], face["probability"], *probabilities, None]
            )
        if not result.faces:
            table.writerow([result.photo, *[None] * (len(columns) - 1 + len(classes)), result.error])

    return write


WRITERS = {"text": text_writer, "json": json_writer, "csv": csv_writer}
