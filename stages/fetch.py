"""Bring the photos here, once, as one immutable zip.

Reads the source that params names; writes the zip, what it holds, and where it is from. Everything
after this stage works without a network. The fingerprint that can be pinned is the sha256 of the
list of contents: names and bytes of the files, whatever the packing.
"""

import csv
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from facemask import cli, params
from facemask.archive import Archive
from facemask.errors import UserError
from facemask.reproducible import remove, write_json, write_text
from facemask.sources import SOURCES


def table(contents: Iterable[tuple[str, int, str]]) -> str:
    """The list of contents as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("member", "bytes", "sha256"), *contents])
    return text.getvalue()


def check(fingerprint: str, expected: str | None) -> None:
    """Hold the content against what was pinned.

    Raises
    ------
    UserError
        If it is another.
    """
    if expected not in (None, fingerprint):
        raise UserError(
            f"dataset.sha256 is {expected} but the files hash to {fingerprint}; "
            "get the dataset again, or change the pin if the new content is wanted"
        )


def main(raw: Path, contents: Path, source: Path) -> None:
    dataset = params.load().dataset
    incoming = raw.with_name(f".{raw.name}.incoming")
    remove(incoming)
    incoming.mkdir(parents=True)
    try:
        origin = SOURCES[dataset.source](dataset, incoming / raw.name)
        with Archive(incoming / raw.name) as archive:
            members = list(archive.contents())
        listing = table(members)
        fingerprint = hashlib.sha256(listing.encode()).hexdigest()
        print(f"{len(members):,} files, dataset.sha256: {fingerprint}")
        check(fingerprint, dataset.sha256)
        (incoming / raw.name).replace(raw)
    finally:
        remove(incoming)
    size = sum(size for _, size, _ in members)
    write_text(contents, listing)
    write_json(source, origin | {"source": dataset.source, "files": len(members), "bytes": size, "sha256": fingerprint})


if __name__ == "__main__":
    cli.run(main)
