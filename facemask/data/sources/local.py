"""Photos on this machine: a zip, or a folder that is packed into one."""

import shutil
from pathlib import Path
from typing import Literal

from facemask.core.errors import UserError
from facemask.core.repository import resolve
from facemask.data.archive import LITTER, Archive, write_archive
from facemask.data.sources.dataset import Dataset


class Local(Dataset):
    """A zip or a folder; `path` is relative to params.yaml."""

    source: Literal["archive"]
    path: str


def fetch(dataset: Local, destination: Path) -> dict[str, str | int | None]:
    """Copy a zip, or pack a folder, after a look at every member.

    Raises
    ------
    UserError
        If there is nothing at `path`, or it is not a safe zip.
    """
    path = resolve(dataset.path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not LITTER & set(file.parts))
        write_archive(destination, ((file.relative_to(path).as_posix(), file.read_bytes()) for file in files))
    elif path.is_file():
        with Archive(path):
            shutil.copyfile(path, destination)
    else:
        raise UserError(f"there is nothing at {path}, the path of a dataset; give a zip or a folder of class folders")
    return {"name": dataset.path, "version": None, "licence": None}
