"""Compare networks and ways of training: python -m facemask.experiments.study experiments=FILE page=FILE picture=FILE.

Runs every experiment of the study that the checked-out commit does not have yet, and writes the results. If stopped, it
continues with the next. All experiments change the commit's params.yaml.
"""

import io
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import write_text
from facemask.core.tables import read_csv
from facemask.evaluation import figures, markdown
from facemask.evaluation.metrics import INTERVAL
from facemask.experiments import dvc, tracking
from facemask.experiments.dvc import RECORD, at, commit_of, git, output
from facemask.experiments.mlflow_store import store


def load(file: Path) -> dict[str, list[str]]:
    """Read a study: the changes in params.yaml by the name of the experiment.

    Raises
    ------
    UserError
        If the file is missing or not valid.
    """
    study = params.read(file)
    if not all(isinstance(changes, list) for changes in study.values()):
        raise UserError(f"{file} must give each experiment's name a list of changes, such as [lr=1e-4]")
    return {str(name): [str(change) for change in changes] for name, changes in study.items()}


def check_clean(*but: Path) -> None:
    """Refuse uncommitted changes: an experiment is identified by its name and its commit.

    Raises
    ------
    UserError
        Naming the first changed file.
    """
    exceptions = [f":(exclude){file}" for file in but]
    if changed := git("status", "--porcelain", "--untracked-files=no", "--", ".", *exceptions):
        raise UserError(f"{changed.splitlines()[0].split()[-1]} is not committed; a study compares on one commit")


def complete(study: dict[str, list[str]]) -> dict[str, str]:
    """Run the experiments that do not exist yet; return the reasons of failures by name."""
    failures, present = {}, dvc.names()
    for number, (name, changes) in enumerate(study.items(), start=1):
        done = name in present
        print(f"[{number}/{len(study)}] {name}: {'exists' if done else ' '.join(changes)}", flush=True)
        reason = None if done else dvc.run(name, changes)
        if reason:
            failures[name] = reason
    return failures


def recorded(commit: str, label: str) -> dict[str, float]:
    """The metrics of an experiment's run in MLflow, whose tag `study` is set to the label; none if there is no run."""
    from mlflow.tracking import MlflowClient

    with store() as experiment:
        run = tracking.run_of(output(at(commit, "dvc.lock"), RECORD), experiment)
        if run is None:
            return {}
        MlflowClient().set_tag(run.info.run_id, "study", label)
    return run.data.metrics


def result(name: str, label: str) -> dict[str, object]:
    """The results of an experiment: scores and sizes from its commit, the rest from MLflow."""
    commit = commit_of(name)
    external, export = (json.loads(at(commit, f"metrics/{file}.json")) for file in ("external", "export"))
    scores, report = (
        read_csv(io.StringIO(at(commit, f"metrics/{file}.csv"))).query("test_set == 'test'")
        for file in ("scores", "classification_report")
    )
    scores = scores.set_index("score")
    accuracy = scores.loc["accuracy"]
    noted = recorded(commit, label)
    return {
        "name": name,
        "accuracy": accuracy["value"],
        "low": accuracy["low"],
        "high": accuracy["high"],
        "f1": scores.loc["f1", "value"],
        "photos": report.photos.sum(),
        "megabytes": round(export["int8_mb"], 2),  # a few bytes are no difference
        "int8": export["int8_accuracy"],
        "external": external,
        "parameters": noted.get("train.parameters", np.nan),
        "milliseconds": noted.get("tflite.int8.milliseconds", np.nan),
        "seconds": noted.get("train.seconds", np.nan),
    }


def on_front(table: pd.DataFrame) -> pd.Series:
    """Pareto front: whether no other row has a lower size or a higher accuracy without being worse in the other."""
    size, accuracy = table.megabytes.to_numpy(), table.accuracy.to_numpy()
    no_worse = (size[:, None] <= size) & (accuracy[:, None] >= accuracy)
    better = (size[:, None] < size) | (accuracy[:, None] > accuracy)
    return pd.Series(~(no_worse & better).any(axis=0), table.index)


def choose(table: pd.DataFrame) -> tuple[str, str]:
    """The best model and the reason: the smallest of those within the interval of the most accurate."""
    most = table.loc[table.accuracy.idxmax()]
    tied = table[table.accuracy >= most.low]
    best = tied.sort_values(["megabytes", "accuracy"], ascending=[True, False], kind="stable").iloc[0]
    if best["name"] == most["name"] and len(tied) == 1:
        return best["name"], f"the highest test accuracy, {best.accuracy:.4f}, and no other is within its {INTERVAL}"
    return best["name"], (
        f"the smallest, {best.megabytes:.2f} MB, of the {len(tied)} whose test accuracy is within the {INTERVAL} "
        f"of the highest ({most['name']}: {most.accuracy:.4f}, {most.low:.4f} to {most.high:.4f})"
    )


def cells(row: dict[str, Any], external: list[str]) -> list[str]:
    """A model's row of the table, from the third column on; times, which differ between runs, come last."""
    noted = (f"{row['parameters']:,.0f}", f"{row['milliseconds']:.2f}", f"{row['seconds']:.0f}")
    parameters, milliseconds, seconds = ("" if text == "nan" else text for text in noted)
    return [
        f"{row['accuracy']:.4f} ({row['low']:.4f} to {row['high']:.4f})",
        f"{row['f1']:.4f}",
        *[f"{row['external'][name]:.4f}" if name in row["external"] else "" for name in external],
        parameters,
        f"{row['megabytes']:.2f}",
        f"{row['int8']:.4f}",
        "yes" if row["front"] else "",
        milliseconds,
        seconds,
    ]


def report(study: dict[str, list[str]], table: pd.DataFrame, failures: dict[str, str], picture: str) -> str:
    """The study as Markdown."""
    external = sorted({name for scores in table.get("external", []) for name in scores})
    heads = ["experiment", "changes", f"test accuracy ({INTERVAL})", "F1",
             *[f"{name}: balanced accuracy" for name in external], "parameters",
             "int8 MB", "int8 accuracy", "front", "int8 ms", "training s"]  # fmt: skip
    lines = ["# Study", ""]
    if len(table):
        best, why = choose(table)
        lines += [
            f"**{best}** is the best: {why}. So the test split took part in the choice, and the best accuracy is a "
            "little optimistic; external test sets took none.",
            "",
            f"![Accuracy over size]({picture})",
            "",
            f"Accuracy and F1 are for {table.photos.iloc[0]} test photos, in float32. Front: the Pareto front of",
            "accuracy and size. Milliseconds are the latency of one photo on one thread of the machine that ran the",
            "experiment; seconds are training without feature extraction.",
            "",
        ]
    models = {row["name"]: row for row in table.to_dict("records")}
    rows = []
    for name, changes in study.items():
        failed = [f"failed: {textwrap.shorten(failures[name], 200)}"] if name in failures else None
        row = [
            name,
            " ".join(f"`{change}`" for change in changes) or "none",
            *(failed or cells(models[name], external)),
        ]
        rows.append(row + [""] * (len(heads) - len(row)))
    return "\n".join([*lines, markdown.table(heads, rows)]) + "\n"


def main(experiments: Path, page: Path, picture: Path) -> None:
    study = load(experiments)
    check_clean(page, picture)
    failures = complete(study)
    label = f"{experiments.stem}@{commit_of('HEAD')[:7]}"
    table = pd.DataFrame([result(name, label) for name in study if name not in failures])
    if len(table):
        table["front"] = on_front(table)
        figures.accuracy_and_size(table, INTERVAL, picture)
    write_text(page, report(study, table, failures, picture.name))
    print(f"{page}: {len(table)} experiments, {len(failures)} failed; in MLflow: tags.study = '{label}'")


if __name__ == "__main__":
    cli.run(main)
