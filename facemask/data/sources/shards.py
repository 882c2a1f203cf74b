"""Photos in shards: zips of some thousand each, in a folder or a bucket, where they stay."""

from pathlib import Path
from typing import Any, Literal

import pandas as pd

from facemask.core import parallel
from facemask.core.errors import UserError
from facemask.core.tables import write_csv
from facemask.data import raw, remote
from facemask.data.archive import report_litter
from facemask.data.sources.dataset import Dataset

LISTED_AT_ONCE = 16


class Shards(Dataset):
    """Zips in a folder or bucket; `path` is an address that fsspec reads (`s3://...`), or relative to params.yaml."""

    source: Literal["shards"]
    path: str


def described(address: str) -> tuple[int, int, str, list[str]]:
    """Files, bytes, fingerprint and litter of a shard; only its directory is read."""
    with remote.in_place(address) as archive:
        return len(archive.names), archive.bytes, raw.fingerprint(archive), archive.litter


def fetch(dataset: Shards, destination: Path) -> dict[str, Any]:
    """Write the list of shards as CSV: shard, files, bytes, sha256.

    Raises
    ------
    UserError
        If there are none, or one is not a safe zip.
    """
    address = remote.absolute(dataset.path).rstrip("/")
    names = remote.listed(address)
    shards = [name for name in names if name.lower().endswith(".zip")]
    if not shards:
        raise UserError(
            f"there are no zips in {address}, the path of a dataset; for a folder of photos, source: archive"
        )
    if others := len(names) - len(shards):
        print(f"{others:,} files left out that are no zips")
    found = list(parallel.in_order(described, (f"{address}/{name}" for name in shards), LISTED_AT_ONCE))
    table = pd.DataFrame([row[:3] for row in found], columns=["files", "bytes", "sha256"])
    table.insert(0, "shard", shards)
    write_csv(destination, table)
    report_litter(name for row in found for name in row[3])
    return {
        "name": dataset.path,
        "version": None,
        "licence": None,
        "files": int(table.files.sum()),
        "bytes": int(table.bytes.sum()),
    }
