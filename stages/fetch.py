"""Fetch the datasets, once, each as one zip.

Reads the sources in params.yaml; writes a folder with, for every dataset, NAME.zip, NAME.csv (every file with its hash)
and NAME.json (its origin). The stages after this one work offline.
"""

from pathlib import Path

from facemask.core import cli, params
from facemask.core.files import remove
from facemask.core.params import Section
from facemask.data.sources import Datasets, obtain
from facemask.data.sources.local import Local, find


class Settings(Section):
    """The parameters that this stage reads."""

    datasets: Datasets


def main(raw: Path, parameters: Path = Path("params.yaml")) -> str:
    datasets = params.load(Settings, parameters).datasets
    for dataset in datasets.values():
        if isinstance(dataset, Local):  # before others are downloaded
            find(dataset)
    for name, dataset in datasets.items():
        obtain(name, dataset, raw)
    for path in raw.iterdir():  # files of datasets that were removed from params.yaml
        if path.stem not in datasets:
            remove(path)
    size = sum(path.stat().st_size for path in raw.iterdir())
    return f"{', '.join(datasets)}: {size / 1e6:.1f} MB"


if __name__ == "__main__":
    cli.run(main)
