"""What this branch changes since it left another, as Markdown: python -m facemask.experiments.diff BRANCH.

Ends with status 1 if the model is worse than promotion allows, on the same test split. In a pull request's comment,
FIGURES_URL says where the host serves files of a commit: then figures that differ are shown side by side.
"""

import json
import os
from pathlib import Path

import yaml

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.experiments.dvc import ALLOWED_LOSS, at, commit_of, dvc, git

SCORES = "metrics/test.json"
MANIFEST = "data/manifest.csv"
HEADING = 2  # lines of a table
GATED = ("accuracy", "balanced_accuracy")


def changes(kind: str, revision: str) -> str:
    """DVC's table of what differs between a revision and the workspace in `params` or `metrics`."""
    table = dvc(kind, "diff", "--md", revision)
    return table if len(table.splitlines()) > HEADING else f"No {kind} differ."


def figures(commit: str, url: str | None) -> str:
    """The figures that differ from a commit's, side by side where there is a URL, and otherwise by name."""
    names = git("diff", "--name-only", commit, "--", "metrics/*.png").split()
    if not names:
        return "No figures differ."
    if not url:
        return f"Figures that differ (`dvc plots diff {commit[:7]}` shows them): {', '.join(names)}"
    head = git("rev-parse", "HEAD")
    rows = [f"| {name} | ![]({url}/{commit}/{name}) | ![]({url}/{head}/{name}) |" for name in names]
    table = "\n".join(["| figure | before | now |", "|---|---|---|", *rows])
    return f"<details><summary>Figures that differ: {len(names)}</summary>\n\n{table}\n\n</details>"


def test_split(lock: str) -> str:
    """The hash of the manifest in a dvc.lock."""
    outs = yaml.safe_load(lock)["stages"]["split"]["outs"]
    return next(out["md5"] for out in outs if out["path"] == MANIFEST)


def losses(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """In words, every gated score that fell by more than is allowed."""
    return [
        f"{name} fell from {before[name]:.4f} to {now[name]:.4f}; {ALLOWED_LOSS} is allowed"
        for name in GATED
        if now[name] < before[name] - ALLOWED_LOSS
    ]


def main(branch: str) -> None:
    commit = git("merge-base", commit_of(branch), "HEAD")
    fallen = []
    if test_split(at(commit, "dvc.lock")) != test_split(Path("dvc.lock").read_text()):
        verdict = "The manifests differ, so the scores are not held against each other."
    elif fallen := losses(json.loads(at(commit, SCORES)), json.loads(Path(SCORES).read_text())):
        verdict = "\n".join(f"**Worse:** {words}." for words in fallen)
    else:
        verdict = "The model is not worse than is allowed."
    tables = changes("params", commit[:7]), changes("metrics", commit[:7])
    shown = figures(commit, os.environ.get("FIGURES_URL"))
    print("\n\n".join([f"### Since {branch} ({commit[:7]})", verdict, *tables, shown]))
    if fallen:
        raise UserError("; ".join(fallen))


if __name__ == "__main__":
    cli.run(main)
