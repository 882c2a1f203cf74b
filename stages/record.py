"""Record this execution of the pipeline as a run in MLflow, after all other stages.

Reads the outputs of the other stages; writes all that the run reports except times. The hash of that file is in
dvc.lock, and identifies the run.
"""

import hashlib
import json
from pathlib import Path

from facemask.core import cli, params
from facemask.core.files import write_json
from facemask.core.params import Section, Side
from facemask.core.tables import read_csv
from facemask.experiments import tracking
from facemask.experiments.report import report_row, times


class Settings(Section):
    """The parameters that this stage reads; the run has all of params.yaml."""

    image_size: Side
    model: str
    train_from: str


def main(
    parameters: Path,
    manifest: Path,
    data: Path,
    details: Path,
    weights: Path,
    tflite: Path,
    history: Path,
    curves: Path,
    test: Path,
    external: Path,
    scores: Path,
    report: Path,
    slices: Path,
    corruptions: Path,
    predictions: Path,
    external_predictions: Path,
    pictures: Path,
    headlines: Path,
    comparison: Path,
    issues: Path,
    sheet: Path,
    card: Path,
    datasheet: Path,
    record: Path,
) -> str:
    settings = params.load(Settings, parameters)
    files = [data, details, weights, tflite, history, curves, test, external, scores, report, slices, corruptions,
             predictions, external_predictions, pictures, headlines, comparison, issues, sheet, card,
             datasheet]  # fmt: skip
    table, photos = read_csv(scores), read_csv(predictions)
    of_external = {f"balanced_accuracy_{name}": value for name, value in json.loads(external.read_text()).items()}
    doubtful = {"doubtful_labels": len(read_csv(issues))}
    row = report_row(
        parameters,
        manifest,
        (json.loads(test.read_text()), of_external, json.loads(headlines.read_text()), doubtful),
        (table, read_csv(report), read_csv(comparison)),
        {"model": settings.model, "train_from": settings.train_from},
        files,
    )
    write_json(record, row)
    digest = hashlib.md5(record.read_bytes(), usedforsecurity=False).hexdigest()  # as DVC hashes it
    accuracy = table.query("test_set == 'test'").set_index("score").loc["accuracy"]
    reached = f"Test accuracy **{accuracy.value:.4f}** ({accuracy.low:.4f} to {accuracy.high:.4f})."
    tracking.record(
        row | {"metrics": row["metrics"] | times(weights, tflite)},
        digest,
        tracking.description(parameters, reached, card.name),
        manifest,
        read_csv(history),
        # MLflow compares runs by the first column, and shows the second.
        photos[["member", "predicted", *(name for name in photos if name not in ("member", "predicted"))]],
        tflite,
        settings.image_size,
        files,
    )
    return f"{len(row['metrics'])} metrics and {len(row['files'])} files"


if __name__ == "__main__":
    cli.run(main)
