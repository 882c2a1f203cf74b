"""Bring the other datasets here: those the model is only tested on, and those it is trained on too.

Reads the sources that params names; writes a folder with NAME.zip and NAME.json for each.
"""

from pathlib import Path

from facemask.core import cli, params
from facemask.core.files import replacing, write_json
from facemask.data.sources import obtain


def main(folder: Path) -> None:
    with replacing(folder) as incoming:
        incoming.mkdir()
        for name, dataset in params.load().others.items():
            print(f"{name}:", flush=True)
            record, _ = obtain(dataset, incoming / f"{name}.zip")
            write_json(incoming / f"{name}.json", record)


if __name__ == "__main__":
    cli.run(main)
