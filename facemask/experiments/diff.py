"""What this branch changes compared with another, as Markdown: python -m facemask.experiments.diff branch=BRANCH.

Ends with status 1 if the model is worse than promotion allows. With FIGURES_URL, where the host serves the files of a
commit, figures that differ are shown side by side.
"""

import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.evaluation import gate, markdown
from facemask.evaluation.metrics import HEADLINES, INTERVAL
from facemask.experiments.dvc import MANIFEST, SCORES, at, commit_of, dvc, git, output

TEST = "metrics/test.json"
EXTERNAL = "metrics/external.json"


def differences(kind: str, commit: str) -> list[tuple[str, str, Any, Any]]:
    """File, name, value before and value now of the `params` or `metrics` that differ between a commit and now.

    A value that is missing on one side is None. DVC returns them unordered; here the scores of the test split come
    first, in the order of `HEADLINES`, then those of external test sets.
    """
    files = json.loads(dvc(kind, "diff", "--json", commit))

    def rank(difference: tuple[str, str, Any, Any]) -> tuple:
        file, name, *_ = difference
        return file != TEST, file != EXTERNAL, file, [*HEADLINES, name].index(name) if file == TEST else 0, name

    return sorted(
        (
            (file, name, change.get("old"), change.get("new"))
            for file, changes in files.items()
            for name, change in changes.items()
        ),
        key=rank,
    )


def parameters(commit: str) -> str:
    """The table of parameters that differ."""
    rows = [(f"`{name}`", before, now) for _, name, before, now in differences("params", commit)]
    return markdown.table(["parameter", "before", "now"], rows) if rows else "No params differ."


def scores(table: str) -> dict[tuple[str, str], Any]:
    """The rows of `metrics.scores_table`, given as CSV, by file and name of the headline metric."""
    rows = read_csv(io.StringIO(table)).itertuples()
    return {
        (TEST, row.score) if row.test_set == "test" else (EXTERNAL, row.test_set): row
        for row in rows
        if row.test_set == "test" or row.score == "balanced_accuracy"
    }


def headlines(commit: str, comparable: bool) -> str:
    """The table of headline metrics that differ in four decimals, with their intervals, and whether these overlap.

    Parameters
    ----------
    comparable : bool
        Whether both sides were evaluated on the same photos.
    """
    rows = []
    held = git("ls-tree", "--name-only", commit, SCORES)
    before, now = scores(at(commit, SCORES)) if held else {}, scores(Path(SCORES).read_text())
    for file, name, old, new in differences("metrics", commit):
        change = "" if old is None or new is None else number(new - old, sign="+")
        one, other = before.get((file, name)), now.get((file, name))
        overlapping = overlap(one, other) if comparable and one and other else ""
        label = f"{name}, balanced accuracy" if file == EXTERNAL else name.replace("_", " ")
        row = [label, number(old, one), number(new, other), change, overlapping]
        if row[1] != row[2]:
            rows.append(row)
    return markdown.table(["metric", "before", "now", "change", f"{INTERVAL}s"], rows) if rows else "No metrics differ."


def number(value: float | None, row: Any | None = None, sign: str = "") -> str:
    """A metric with the interval in its row of scores, if it has one."""
    if value is None:
        return ""
    shown = f"{value:{sign},}" if isinstance(value, int) else f"{value:{sign}.4f}"
    return shown if row is None else markdown.with_interval(shown, row.low, row.high)


def overlap(before: Any, now: Any) -> str:
    """Whether the intervals of two rows of scores overlap, as text; empty where one has no interval."""
    if pd.isna(before.low) or pd.isna(now.low):
        return ""
    return "overlap" if before.low <= now.high and now.low <= before.high else "do not overlap"


def figures(commit: str, url: str | None) -> str:
    """The figures that differ from a commit's: side by side if there is a URL, else their names."""
    names = [name for name in git("diff", "--name-only", "-z", commit, "--", "metrics/*.png").split("\0") if name]
    if not names:
        return "No figures differ."
    if not url:
        return f"Figures that differ (`dvc plots diff {commit[:7]}` shows them): {', '.join(names)}"
    head = git("rev-parse", "HEAD")
    rows = [[name, *(f"![]({url}/{side}/{quote(name)})" for side in (commit, head))] for name in names]
    table = markdown.table(["figure", "before", "now"], rows)
    return f"<details><summary>Figures that differ: {len(names)}</summary>\n\n{table}\n\n</details>"


def main(branch: str) -> None:
    tip = commit_of(branch)
    commit = git("merge-base", tip, "HEAD")
    former, split = output(at(commit, "dvc.lock"), MANIFEST), output(Path("dvc.lock").read_text(), MANIFEST)
    now = gate.evaluated(split, Path(SCORES).read_text())
    fallen, verdict = [], "The model is not worse than allowed."
    try:
        if fallen := gate.worse(now, gate.evaluated(former, at(commit, SCORES))):
            verdict = "\n".join(f"**Worse:** {reason}." for reason in fallen)
    except UserError as error:
        verdict = f"Not compared: {error}."
    tables = headlines(commit, split == former), parameters(commit)
    shown = figures(commit, os.environ.get("FIGURES_URL"))
    since = branch if commit == tip else f"the merge base with {branch}"
    print("\n\n".join([f"### Since {since} ({commit[:7]})", verdict, *tables, shown]))
    if fallen:
        raise UserError("; ".join(fallen))


if __name__ == "__main__":
    cli.run(main)
