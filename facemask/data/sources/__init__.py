"""Sources of datasets, one module each.

Each has a section of parameters, chosen by the value of `source`, and `fetch(dataset, destination)`, which writes a zip
and returns its name, version and licence as far as they are known. `shards` alone writes a list of zips instead.
"""

import contextlib
import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from facemask.core.errors import UserError
from facemask.core.files import digest, remove, write_json, write_text
from facemask.data.archive import Archive, report_litter
from facemask.data.sources import kaggle, local, shards, synthetic, synthetic_scenes
from facemask.data.splits import SPLITS

SOURCES = {
    "synthetic": synthetic, "synthetic_scenes": synthetic_scenes, "archive": local, "shards": shards, "kaggle": kaggle,
}  # fmt: skip

Dataset = Annotated[
    synthetic.Synthetic | synthetic_scenes.SyntheticScenes | local.Local | shards.Shards | kaggle.Kaggle,
    Field(discriminator="source"),
]


def named(datasets: dict[str, Any]) -> dict[str, Any]:
    """Refuse a dataset named like a split, and datasets of which none has `use: split`."""
    if taken := sorted(set(SPLITS) & set(datasets)):
        raise ValueError(f"{taken[0]} is the name of a split; choose another")
    if all(dataset.use != "split" for dataset in datasets.values()):
        raise ValueError("none has use: split; there is nothing to train on and to test with")
    return datasets


Datasets = Annotated[dict[Annotated[str, Field(pattern=r"^\w[\w-]*$")], Dataset], AfterValidator(named)]


def listed(archive: Archive) -> tuple[str, int, int]:
    """The contents of an archive.

    Returns
    -------
    (listing, files, bytes)
        CSV with member, bytes and sha256 of every file, independent of compression. The sha256 of that text is the
        dataset's fingerprint.
    """
    members = list(archive.contents())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("member", "bytes", "sha256"), *members])
    return text.getvalue(), len(members), sum(size for _, size, _ in members)


def is_there(dataset: Dataset, folder: Path, name: str) -> bool:
    """Whether the folder has a complete download of the same version."""
    try:
        known = json.loads((folder / f"{name}.json").read_text())
        if dataset.pinned is None or dataset.pinned != f"{known['name']}/{known['version']}":
            return False
        with Archive(folder / f"{name}.zip") as archive:
            listing, *_ = listed(archive)
    except (OSError, ValueError, KeyError, UserError):
        return False
    return listing.encode() == (folder / f"{name}.csv").read_bytes() and hashed(listing) == known["sha256"]


def fetched(folder: Path) -> set[str]:
    """The datasets that are in a folder as `obtain` wrote them: a record, and the list of files that it is of."""
    found = set()
    for file in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # a file of the user's
            if json.loads(file.read_bytes())["sha256"] == digest(file.with_suffix(".csv")):
                found.add(file.stem)
    return found


def hashed(listing: str) -> str:
    """The fingerprint of a dataset: the sha256 of the list of its files."""
    return hashlib.sha256(listing.encode()).hexdigest()


def packed(dataset: Dataset, archive: Path, contents: Path) -> dict[str, Any]:
    """Get a dataset as one zip, and the list of its files; return its origin, files and bytes."""
    origin = SOURCES[dataset.source].fetch(dataset, archive)
    with Archive(archive) as opened:
        listing, files, size = listed(opened)
        report_litter(opened.litter)
    write_text(contents, listing)
    return origin | {"files": files, "bytes": size}


def check_pin(name: str, dataset: Dataset, fingerprint: str) -> None:
    """Refuse files that do not match `sha256`, if the dataset has one."""
    if dataset.sha256 not in (None, fingerprint):
        raise UserError(
            f"datasets.{name}.sha256 is {dataset.sha256} but the files hash to {fingerprint}; "
            "get the dataset again, or change the pin if the new content is wanted"
        )


def obtain(name: str, dataset: Dataset, folder: Path) -> None:
    """Fetch a dataset into a folder: NAME.zip, NAME.csv with the hash of every file, NAME.json with its origin.

    Of a dataset in shards, NAME.csv has the hash of every shard, and there is no zip. A download of the same version is
    kept. The old files stay until the new ones are complete.

    Raises
    ------
    UserError
        If it cannot be fetched, is broken, or does not match `sha256`.
    """
    if is_there(dataset, folder, name):
        check_pin(name, dataset, digest(folder / f"{name}.csv"))
        print(f"{name}: {dataset.pinned} is here already", flush=True)
        return
    incoming = folder / f".{name}.incoming"
    remove(incoming)
    incoming.mkdir(parents=True)
    archive, contents = incoming / f"{name}.zip", incoming / f"{name}.csv"
    try:
        origin = shards.fetch(dataset, contents) if dataset.source == "shards" else packed(dataset, archive, contents)
        fingerprint = digest(contents)
        print(f"{name}: {origin['files']:,} files, sha256: {fingerprint}", flush=True)
        check_pin(name, dataset, fingerprint)
        for ending in ("json", "zip", "csv"):
            remove(folder / f"{name}.{ending}")
        for file in incoming.iterdir():
            file.replace(folder / file.name)
        write_json(folder / f"{name}.json", origin | {"source": dataset.source, "sha256": fingerprint})
    finally:
        remove(incoming)
