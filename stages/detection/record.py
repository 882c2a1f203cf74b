"""Tell MLflow what this execution of the detection pipeline made, when everything else is made.

Reads what the other stages wrote; writes all that the run in MLflow reports but times. The hash of that file stands
in dvc.lock, and finds the run again.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd

from facemask.core import cli, params
from facemask.core.files import read_csv, write_json
from facemask.core.params import Section
from facemask.experiments import measurements, tracking
from facemask.experiments.tracking import flatten

CURVES = {"loss": "epoch.train_loss", "map50": "epoch.validation_map50"}


class Settings(Section):
    """The parameters that this stage reads; the run has all of them."""

    image_size: int
    model: str
    train_from: str


def numbers(table: pd.DataFrame, *names: str) -> dict[str, float]:
    """The numbers of a table, by the row's values of some columns and the column's name."""
    long = table.melt(list(names), var_name="number", value_name="amount").dropna()
    return {".".join(map(str, row[:-1])): float(row[-1]) for row in long.itertuples(index=False)}


def main(
    parameters: Path,
    manifest: Path,
    data: Path,
    details: Path,
    model: Path,
    tflite: Path,
    history: Path,
    curves: Path,
    sheet: Path,
    test: Path,
    scores: Path,
    report: Path,
    predictions: Path,
    pictures: Path,
    headlines: Path,
    comparison: Path,
    card: Path,
    record: Path,
) -> str:
    settings = params.load(Settings, parameters)
    files = [data, details, model, tflite, history, curves, sheet, test, scores, report, predictions, pictures,
             headlines, comparison, card]  # fmt: skip
    found = sorted(one for file in files for one in ([file] if file.is_file() else file.rglob("*")) if one.is_file())
    faces, all_scores, boxes = read_csv(manifest), read_csv(scores), read_csv(predictions)
    sets = {name: "test" if name == "test" else f"test_{name}" for name in all_scores.test_set.unique()}
    tables = (
        numbers(all_scores.replace({"test_set": sets}), "test_set", "score"),
        numbers(read_csv(report).replace({"test_set": sets}), "test_set", "class"),
        {f"tflite.{name}": value for name, value in numbers(read_csv(comparison), "variant").items()},
    )
    metrics = json.loads(test.read_text()) | json.loads(headlines.read_text())
    for table in tables:
        metrics |= table
    row = {
        "parameters": flatten(params.read(parameters)),
        "metrics": metrics,
        "tags": {
            "dataset": " + ".join(sorted(faces.dataset[faces.split == "train"].unique())),
            "model": settings.model,
            "train_from": settings.train_from,
            tracking.SPLIT_TAG: hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest(),
        },
        "files": {file.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in found},
    }
    write_json(record, row)
    exported = {file.stem: measurements.of(file.read_bytes()) for file in sorted(tflite.glob("*.tflite"))}
    times = flatten({"train": measurements.of(model.read_bytes()), "tflite": exported})
    value, low, high = all_scores.query("test_set == 'test' and score == 'map50'")[["value", "low", "high"]].iloc[0]
    tracking.record(
        row | {"metrics": metrics | times},
        hashlib.md5(record.read_bytes(), usedforsecurity=False).hexdigest(),  # as DVC hashes it
        tracking.description(parameters, f"Test mAP50 **{value:.4f}** ({low:.4f} to {high:.4f})."),
        manifest,
        read_csv(history).rename(columns=CURVES),
        boxes[["member", "predicted", *(name for name in boxes if name not in ("member", "predicted"))]],
        None,
        settings.image_size,
        files,
        tracking.DETECTION,
    )
    return f"{len(metrics)} metrics and {len(row['files'])} files"


if __name__ == "__main__":
    cli.run(main)
