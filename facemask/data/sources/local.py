"""Photos on this machine: a zip, or a folder that is packed into a zip."""

import os
import shutil
from pathlib import Path
from typing import Literal

from facemask.core.errors import UserError
from facemask.core.files import files_in
from facemask.core.repository import resolve
from facemask.data.archive import Archive, is_litter, report_litter, write_archive
from facemask.data.sources.dataset import Dataset


class Local(Dataset):
    """A zip or a folder; `path` is relative to params.yaml."""

    source: Literal["archive"]
    path: str


def name_in(folder: Path, file: Path) -> str:
    """The name of a file in the dataset.

    Raises
    ------
    UserError
        If it is not UTF-8.
    """
    name = file.relative_to(folder).as_posix()
    if (shown := os.fsencode(name).decode(errors="backslashreplace")) != name:
        raise UserError(
            f"the name {shown} in {folder} is not UTF-8; rename it, or all of them: "
            "convmv -r --notest -f cp1252 -t utf8 FOLDER"
        )
    return name


def find(dataset: Local) -> Path:
    """Where a dataset is.

    Raises
    ------
    UserError
        If there is nothing.
    """
    path = resolve(dataset.path)
    if not path.exists():
        raise UserError(f"there is nothing at {path}, the path of a dataset; give a zip or a folder of class folders")
    return path


def fetch(dataset: Local, destination: Path) -> dict[str, str | int | None]:
    """Copy a zip after checking its members, or pack a folder.

    Raises
    ------
    UserError
        If there is nothing at `path`, or it is not a safe zip.
    """
    path = find(dataset)
    if path.is_dir():
        files = {name_in(path, file): file for file in files_in(path)}
        write_archive(destination, ((name, file.read_bytes()) for name, file in files.items() if not is_litter(name)))
        report_litter(filter(is_litter, files))
    else:
        with Archive(path):
            shutil.copyfile(path, destination)
    return {"name": dataset.path, "version": None, "licence": None}
