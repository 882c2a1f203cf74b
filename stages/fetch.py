"""Bring the photos here, once, as one immutable zip.

Reads the source that params names; writes the zip. Everything after this stage works without a
network. The zip's fingerprint covers names and contents, not the packing.
"""

from pathlib import Path

from facemask import cli, params
from facemask.archive import Archive
from facemask.errors import UserError
from facemask.reproducible import remove
from facemask.sources import SOURCES


def check(raw: Path, expected: str | None) -> None:
    """Read every member once and hold the content against the expected fingerprint.

    Raises
    ------
    UserError
        If a member is unsafe or broken, or the content is another than expected.
    """
    with Archive(raw) as archive:
        fingerprint = archive.fingerprint()
        print(f"{len(archive.names):,} files, dataset.sha256: {fingerprint}")
    if expected not in (None, fingerprint):
        raise UserError(
            f"dataset.sha256 is {expected} but the files hash to {fingerprint}; "
            "get the dataset again, or change the pin if the new content is wanted"
        )


def main(raw: Path) -> None:
    dataset = params.load().dataset
    incoming = raw.with_name(f".{raw.name}.incoming")
    try:
        SOURCES[dataset.source](dataset, incoming)
        check(incoming, dataset.sha256)
        incoming.replace(raw)
    finally:
        remove(incoming)


if __name__ == "__main__":
    cli.run(main)
