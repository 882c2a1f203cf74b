"""What a run reports: parameters, metrics, tags, and the hashes of its files."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from facemask.core import params
from facemask.core.files import digest
from facemask.core.tables import read_csv
from facemask.experiments import measurements, tracking
from facemask.experiments.tracking import flatten


def report_row(
    parameters: Path,
    manifest: Path,
    headlines: Iterable[Mapping[str, float]],
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    tags: dict[str, str],
    files: list[Path],
) -> dict[str, Any]:
    """Parameters, metrics and tags of a run, by name, and the sha256 of each of its files.

    Parameters
    ----------
    headlines : iterable of dict
        Metrics that stand under their own names.
    tables : (scores, report, variants)
        As `detailed_metrics` takes them.
    """
    faces = read_csv(manifest, columns=["dataset", "split"])
    metrics = {name: value for one in headlines for name, value in one.items()}
    return {
        "parameters": flatten(params.read(parameters)),
        "metrics": metrics | detailed_metrics(*tables),
        "tags": {
            "dataset": " + ".join(sorted(faces.dataset[faces.split == "train"].unique())),
            tracking.SPLIT_TAG: hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest(),
            **tags,
        },
        "files": contents(files),
    }


def numbers(table: pd.DataFrame, *names: str) -> dict[str, float]:
    """The numbers of a table, by the values of the named columns in their row and the name of their column."""
    tree: dict[str, Any] = {}
    for row in table.to_dict("records"):
        branch = tree
        for name in names:
            branch = branch.setdefault(str(row.pop(name)), {})
        branch |= {key: float(value) for key, value in row.items() if not pd.isna(value)}
    return flatten(tree)


def detailed_metrics(scores: pd.DataFrame, report: pd.DataFrame, variants: pd.DataFrame) -> dict[str, float]:
    """All metrics but the headlines: `test.` for the test split, `test_NAME.` for an external test set, `tflite.`."""
    sets = {name: "test" if name == "test" else f"test_{name}" for name in scores.test_set.unique()}
    scores, report = (table.assign(test_set=table.test_set.map(sets)) for table in (scores, report))
    exported = {f"tflite.{name}": value for name, value in numbers(variants, "variant").items()}
    return numbers(scores, "test_set", "score") | numbers(report, "test_set", "class") | exported


def contents(files: list[Path]) -> dict[str, str]:
    """The sha256 of every file, and of every file in a folder."""
    found = sorted(one for file in files for one in ([file] if file.is_file() else file.rglob("*")) if one.is_file())
    return {file.as_posix(): digest(file) for file in found}


def times(weights: Path, tflite: Path) -> dict[str, float]:
    """Training time, latency and the like, measured when the files were made on this machine."""
    exported = {file.stem: measurements.of(file.read_bytes()) for file in sorted(tflite.glob("*.tflite"))}
    return flatten({"train": measurements.of(weights.read_bytes()), "tflite": exported})
