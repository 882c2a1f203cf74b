"""Where photos come from: one module a source.

Each has `fetch(dataset, destination)`, which writes a zip and returns where it is from: its name,
version and licence, as far as they are known.
"""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.core.params import Dataset
from facemask.data.archive import Archive
from facemask.data.sources import demo, kaggle, local

SOURCES = {"demo": demo.fetch, "archive": local.fetch, "kaggle": kaggle.fetch}


def obtain(dataset: Dataset, destination: Path) -> tuple[dict[str, Any], str]:
    """Bring a dataset here as one zip, and read every file of it once.

    Returns
    -------
    (record, contents)
        Where it is from and what it amounts to; and CSV with member, bytes and sha256 of every
        file, whatever the packing. The sha256 of that text is the dataset's fingerprint.

    Raises
    ------
    UserError
        If it cannot be had, or is broken, or its content is another than `dataset.sha256` says.
    """
    origin = SOURCES[dataset.source](dataset, destination)
    with Archive(destination) as archive:
        members = list(archive.contents())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("member", "bytes", "sha256"), *members])
    contents = text.getvalue()
    fingerprint = hashlib.sha256(contents.encode()).hexdigest()
    print(f"{len(members):,} files, dataset.sha256: {fingerprint}")
    if dataset.sha256 not in (None, fingerprint):
        raise UserError(
            f"dataset.sha256 is {dataset.sha256} but the files hash to {fingerprint}; "
            "get the dataset again, or change the pin if the new content is wanted"
        )
    size = sum(size for _, size, _ in members)
    amount = {"source": dataset.source, "files": len(members), "bytes": size, "sha256": fingerprint}
    return origin | amount, contents
