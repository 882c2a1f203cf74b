"""Photos on this machine: a zip, or a folder that is packed into one."""

import shutil
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.params import Dataset
from facemask.core.repository import resolve
from facemask.data.archive import LITTER, Archive, write_archive


def fetch(dataset: Dataset, destination: Path) -> dict[str, str | int | None]:
    """Copy a zip, or pack a folder, after a look at every member.

    Raises
    ------
    UserError
        If there is nothing at `dataset.path`, or it is not a safe zip.
    """
    path = resolve(dataset.path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not LITTER & set(file.parts))
        write_archive(destination, ((file.relative_to(path).as_posix(), file.read_bytes()) for file in files))
    elif path.is_file():
        with Archive(path):
            shutil.copyfile(path, destination)
    else:
        raise UserError(f"dataset.path: there is nothing at {path}; give a zip or a folder of class folders")
    return {"name": dataset.path, "version": None, "licence": None}
