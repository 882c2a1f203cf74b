"""Record this execution of the pipeline as a run in MLflow, after all other stages.

Reads the outputs of the other stages; writes all that the run reports except times. The hash of that file is in
dvc.lock, and identifies the run.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd

from facemask.core import cli, params
from facemask.core.files import read_csv, write_json
from facemask.core.params import Section, Side
from facemask.experiments import measurements, tracking
from facemask.experiments.tracking import flatten

CURVES = {
    "loss": "epoch.train_loss",
    "accuracy": "epoch.train_accuracy",
    "val_loss": "epoch.validation_loss",
    "val_accuracy": "epoch.validation_accuracy",
    "learning_rate": "epoch.learning_rate",
}


class Settings(Section):
    """The parameters that this stage reads; the run has all of params.yaml."""

    image_size: Side
    model: str
    train_from: str


def numbers(table: pd.DataFrame, *names: str) -> dict[str, float]:
    """The numbers of a table, by the values of the named columns in their row and the name of their column."""
    tree = {}
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
    return {file.as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def times(model: Path, tflite: Path) -> dict[str, float]:
    """Training time, latency and the like, measured when the files were made on this machine."""
    exported = {file.stem: measurements.of(file.read_bytes()) for file in sorted(tflite.glob("*.tflite"))}
    return flatten({"train": measurements.of(model.read_bytes()), "tflite": exported})


def main(
    parameters: Path,
    manifest: Path,
    data: Path,
    details: Path,
    model: Path,
    tflite: Path,
    history: Path,
    curves: Path,
    test: Path,
    external: Path,
    scores: Path,
    report: Path,
    predictions: Path,
    external_predictions: Path,
    pictures: Path,
    headlines: Path,
    comparison: Path,
    card: Path,
    record: Path,
) -> str:
    settings = params.load(Settings, parameters)
    files = [data, details, model, tflite, history, curves, test, external, scores, report, predictions,
             external_predictions, pictures, headlines, comparison, card]  # fmt: skip
    faces, table, photos = read_csv(manifest), read_csv(scores), read_csv(predictions)
    of_external = {f"balanced_accuracy_{name}": value for name, value in json.loads(external.read_text()).items()}
    row = {
        "parameters": flatten(params.read(parameters)),
        "metrics": json.loads(test.read_text())
        | of_external
        | json.loads(headlines.read_text())
        | detailed_metrics(table, read_csv(report), read_csv(comparison)),
        "tags": {
            "dataset": " + ".join(sorted(faces.dataset[faces.split == "train"].unique())),
            "model": settings.model,
            "train_from": settings.train_from,
            tracking.SPLIT_TAG: hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest(),
        },
        "files": contents(files),
    }
    write_json(record, row)
    digest = hashlib.md5(record.read_bytes(), usedforsecurity=False).hexdigest()  # as DVC hashes it
    accuracy = table.query("test_set == 'test'").set_index("score").loc["accuracy"]
    reached = f"Test accuracy **{accuracy.value:.4f}** ({accuracy.low:.4f} to {accuracy.high:.4f})."
    tracking.record(
        row | {"metrics": row["metrics"] | times(model, tflite)},
        digest,
        tracking.description(parameters, reached),
        manifest,
        read_csv(history).rename(columns=CURVES),
        # MLflow compares runs by the first column, and shows the second.
        photos[["member", "predicted", *(name for name in photos if name not in ("member", "predicted"))]],
        tflite,
        settings.image_size,
        files,
    )
    return f"{len(row['metrics'])} metrics and {len(row['files'])} files"


if __name__ == "__main__":
    cli.run(main)
