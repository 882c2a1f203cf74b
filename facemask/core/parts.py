"""A folder that is made in parts: each is made once, and again only if its inputs, parameters or code have changed.

What each part was made from is kept in a record beside the folder, so a stage that was killed goes on where it was.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from facemask.core import engine, parallel
from facemask.core.engine import Task, Work
from facemask.core.files import digest, remove, write_json

ROOT = Path(__file__).resolve().parent.parent.parent


class Part(NamedTuple):
    """A part: what makes it, and the key of what goes into it."""

    task: Task
    key: str


def key(*things: Any) -> str:
    """The sha256 of things that JSON can hold."""
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()


def code(modules: list[ModuleType], packages: list[str]) -> str:
    """The sha256 of some modules, of all of the project's that they import, and of the versions of packages."""
    files = set()
    for module in modules:
        finder = ModuleFinder([str(ROOT)])
        finder.run_script(str(module.__file__))
        found = [getattr(one, "__file__", None) for one in finder.modules.values()]
        files |= {Path(file) for file in found if file}
    sources = {file.relative_to(ROOT).as_posix(): digest(file) for file in files}
    return key(sources, {package: version(package) for package in packages})


def intact(folder: Path, recorded: dict[str, dict[str, Any]], part: Part) -> bool:
    """Whether a part is there as it was recorded, and made from the same."""
    known = recorded.get(part.task.name, {"key": None})
    return known["key"] == part.key and all(
        (folder / name).is_file() and digest(folder / name) == sha256 for name, sha256 in known["files"].items()
    )


def make(folder: Path, record: Path, parts: list[Part], work: Work, title: str) -> dict[str, str]:
    """Make those parts of a folder that are not there; what else is there stays until `keep`.

    Parameters
    ----------
    record : Path
        A JSON file: of each part, its key and the sha256 of its files. A file that has another one is not trusted.

    Returns
    -------
    dict
        The sha256 of every file by its path in the folder, in the order of parts.

    Raises
    ------
    UserError
        As `engine.run` does.
    """
    recorded = json.loads(record.read_text()) if record.exists() else {}
    checked = parallel.in_order(functools.partial(intact, folder, recorded), parts, parallel.cores())
    known = {part.task.name: recorded[part.task.name] for part, kept in zip(parts, checked, strict=True) if kept}
    stale = {part.task.name: part for part in parts if part.task.name not in known}
    if known and stale:
        print(f"{title}: {len(known):,} of {len(parts):,} parts are here already", flush=True)
    partial = folder.with_name(f".{folder.name}.partial")
    remove(partial)
    try:
        for task, digests in engine.run(work, [part.task for part in stale.values()], partial, title):
            for name in digests:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (partial / name).replace(folder / name)
            known[task.name] = {"key": stale[task.name].key, "files": digests}
            write_json(record, known)
    finally:
        remove(partial)
    if known != recorded or not record.exists():
        write_json(record, known)
    return {name: sha256 for part in parts for name, sha256 in known[part.task.name]["files"].items()}


def keep(folder: Path, names: Iterable[str]) -> None:
    """Remove everything from a folder but these files."""
    kept = {folder / name for name in names}
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path.is_file() and path not in kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
