"""Record this execution of the detection pipeline as a run in MLflow, after all other stages.

Reads the outputs of the other stages; writes all that the run reports except times. The hash of that file is in
dvc.lock, and identifies the run.
"""

import hashlib
import json
from pathlib import Path

from facemask.core import cli, params
from facemask.core.files import write_json
from facemask.core.params import Section
from facemask.core.tables import read_csv
from facemask.experiments import tracking
from facemask.experiments.mlflow_store import DETECTION
from facemask.experiments.report import report_row, times


class Settings(Section):
    """The parameters that this stage reads; the run has all of them."""

    image_size: int
    model: str
    train_from: str


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
    all_scores, boxes = read_csv(scores), read_csv(predictions)
    row = report_row(
        parameters,
        manifest,
        (json.loads(test.read_text()), json.loads(headlines.read_text())),
        (all_scores, read_csv(report), read_csv(comparison)),
        {"model": settings.model, "train_from": settings.train_from},
        files,
    )
    write_json(record, row)
    value, low, high = all_scores.query("test_set == 'test' and score == 'map50'")[["value", "low", "high"]].iloc[0]
    tracking.record(
        row | {"metrics": row["metrics"] | times(model, tflite)},
        hashlib.md5(record.read_bytes(), usedforsecurity=False).hexdigest(),  # as DVC hashes it
        tracking.description(parameters, f"Test mAP50 **{value:.4f}** ({low:.4f} to {high:.4f}).", card.name),
        manifest,
        read_csv(history),
        boxes[["member", "predicted", *(name for name in boxes if name not in ("member", "predicted"))]],
        None,
        settings.image_size,
        files,
        DETECTION,
    )
    return f"{len(row['metrics'])} metrics and {len(row['files'])} files"


if __name__ == "__main__":
    cli.run(main)
