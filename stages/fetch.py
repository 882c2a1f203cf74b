"""Bring the photos here, once, as one immutable zip.

Reads the source that params names; writes the zip, the list of what it holds, and where it is
from. Everything after this stage works without a network.
"""

from pathlib import Path

from facemask.core import cli, params
from facemask.core.files import remove, write_json, write_text
from facemask.data.sources import obtain


def main(raw: Path, contents: Path, source: Path) -> None:
    incoming = raw.with_name(f".{raw.name}.incoming")
    remove(incoming)
    incoming.mkdir(parents=True)
    try:
        record, listing = obtain(params.load().dataset, incoming / raw.name)
        (incoming / raw.name).replace(raw)
    finally:
        remove(incoming)
    write_text(contents, listing)
    write_json(source, record)


if __name__ == "__main__":
    cli.run(main)
