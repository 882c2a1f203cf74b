"""The folder of datasets: what `fetch` wrote, and the archives in it.

A dataset is one zip, `NAME.zip`, or shards: zips of some thousand photos that stay where they are, listed in
`NAME.csv`. A member of a shard goes by `SHARD/MEMBER`.
"""

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.data import remote
from facemask.data.archive import Archive, Files

OPEN_SHARDS = 32


class Zip(NamedTuple):
    """A zip: the dataset that it is, or one shard of it.

    Attributes
    ----------
    dataset : str
    shard : str
        Its file name if it is a shard, else empty.
    address : str
        A path on this machine, or an address for fsspec.
    sha256 : str
        Of its content.
    """

    dataset: str
    shard: str
    address: str
    sha256: str

    @property
    def name(self) -> str:
        """A name for people and for files: `DATASET` or `DATASET.SHARD`."""
        return f"{self.dataset}.{self.shard.removesuffix('.zip')}" if self.shard else self.dataset

    def named(self, member: str) -> str:
        """What a member of this zip is called in the dataset."""
        return f"{self.shard}/{member}" if self.shard else member

    @contextlib.contextmanager
    def opened(self) -> Iterator[Archive]:
        """The zip, on this machine.

        Raises
        ------
        UserError
            If it cannot be read, or if it is a shard whose content is not that which was fetched.
        """
        with remote.at_hand(self.address) as archive:
            yield self.checked(archive)

    def checked(self, archive: Archive) -> Archive:
        """The opened zip.

        Raises
        ------
        UserError
            If it is a shard whose content is not that which was fetched.
        """
        if self.shard and fingerprint(archive) != self.sha256:
            raise UserError(f"{self.address} has changed since it was fetched; run: dvc repro -f fetch")
        return archive


def fingerprint(archive: Archive) -> str:
    """The sha256 of the names, sizes and CRC-32 of a zip's files: the same however they are packed."""
    return hashlib.sha256(archive.directory().encode()).hexdigest()


def zips(folder: Path) -> list[Zip]:
    """All zips of all datasets, sorted by dataset and shard."""
    found = []
    for file in folder.glob("*.zip"):
        with Archive(file) as archive:
            found.append(Zip(file.stem, "", str(file), fingerprint(archive)))
    for file in folder.glob("*.json"):
        record = json.loads(file.read_text())
        if record["source"] == "shards":
            address = remote.absolute(record["name"]).rstrip("/")
            shards = read_csv(file.with_suffix(".csv")).itertuples()
            found += [Zip(file.stem, row.shard, f"{address}/{row.shard}", row.sha256) for row in shards]
    return sorted(found)


class Shards:
    """The shards of a dataset as one archive; a member is read where it is, for a few photos."""

    def __init__(self, zips: list[Zip]):
        self._zips = {one.shard: one for one in zips}
        self._opened = functools.lru_cache(OPEN_SHARDS)(lambda one: one.checked(remote.in_place(one.address)))

    @property
    def names(self) -> list[str]:
        """Names of all files except litter, by shard."""
        return [one.named(name) for one in self._zips.values() for name in self._opened(one).names]

    def read(self, name: str) -> bytes:
        """The content of a photo; raises what `Archive.read` does."""
        shard, _, member = name.partition("/")
        return self._opened(self._zips[shard]).read(member)


@contextlib.contextmanager
def by_dataset(folder: Path) -> Iterator[dict[str, Files]]:
    """The archives of all datasets in a folder, by name, sorted."""
    with contextlib.ExitStack() as stack:
        archives: dict[str, Files] = {}
        for dataset, parts in itertools.groupby(zips(folder), key=lambda one: one.dataset):
            first, *others = parts
            if first.shard:
                archives[dataset] = Shards([first, *others])
            else:
                archives[dataset] = stack.enter_context(Archive(Path(first.address)))
        yield archives
