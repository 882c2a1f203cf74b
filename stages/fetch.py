"""Fetch the datasets, once, each as one zip.

Reads the sources in params.yaml; writes a folder with, for every dataset, NAME.zip, NAME.csv (every file with its hash)
and NAME.json (its origin). The stages after this one work offline.
"""

from collections.abc import Container
from pathlib import Path

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import remove
from facemask.core.params import Section
from facemask.data.sources import Datasets, fetched, obtain
from facemask.data.sources.local import Local, find

ENDINGS = (".zip", ".csv", ".json")  # of the files of a dataset


class Settings(Section):
    """The parameters that this stage reads."""

    datasets: Datasets


def check_folder(raw: Path, names: Container[str]) -> None:
    """Refuse a folder with files of the user's: it is an output of the pipeline.

    Parameters
    ----------
    names : container of str
        Of the datasets whose files may be there.

    Raises
    ------
    UserError
        Naming the first one that is of no dataset.
    """
    for path in sorted(raw.glob("[!.]*")):
        if path.suffix not in ENDINGS or path.stem not in names:
            raise UserError(f"{path} is in the folder of what fetch writes; move it to another folder")


def main(raw: Path, parameters: Path = Path("params.yaml")) -> str:
    datasets = params.load(Settings, parameters).datasets
    for dataset in datasets.values():
        if isinstance(dataset, Local):  # before others are downloaded
            find(dataset)
    former = fetched(raw) - datasets.keys()
    check_folder(raw, datasets.keys() | former)
    for name, dataset in datasets.items():
        obtain(name, dataset, raw)
    for path in raw.glob(".*"):  # of a fetch that was killed, or of the operating system
        remove(path)
    for name in former:  # which were removed from params.yaml
        for ending in ENDINGS:
            remove(raw / f"{name}{ending}")
    size = sum(path.stat().st_size for path in raw.iterdir())
    return f"{', '.join(datasets)}: {size / 1e6:.1f} MB"


if __name__ == "__main__":
    cli.run(main)
