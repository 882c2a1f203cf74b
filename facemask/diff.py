"""What this checkout changes against a revision, as Markdown: python -m facemask.diff REVISION.

Ends with status 1 if the model is worse than promotion allows. In a pull request's comment, FIGURES_URL says where
the host serves files of a commit: then figures that differ are shown side by side.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from facemask import cli
from facemask.errors import UserError
from facemask.experiments import ALLOWED_LOSS, commit_of, git

SCORES = "metrics/test.json"
HEADING = 2  # lines of a table
GATED = ("accuracy", "balanced_accuracy")


def changes(kind: str, revision: str) -> str:
    """DVC's table of what differs between a revision and the workspace in `params` or `metrics`.

    Raises
    ------
    UserError
        If DVC cannot compare them; it has said why.
    """
    command = [sys.executable, "-m", "dvc", kind, "diff", "--md", revision]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc {kind} diff ended with status {done.returncode}")
    table = done.stdout.strip()
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


def losses(commit: str) -> list[str]:
    """In words, every gated score that fell by more than is allowed; a commit without scores gates nothing."""
    if not git("ls-tree", "--name-only", commit, SCORES):
        return []
    before, now = json.loads(git("show", f"{commit}:{SCORES}")), json.loads(Path(SCORES).read_text())
    return [
        f"{name} fell from {before[name]:.4f} to {now[name]:.4f}; {ALLOWED_LOSS} is allowed"
        for name in GATED
        if now[name] < before[name] - ALLOWED_LOSS
    ]


def main(base: Path) -> None:
    revision = str(base)
    commit = commit_of(revision)
    fallen = losses(commit)
    verdict = [f"**Worse:** {words}." for words in fallen] or ["The model is not worse than is allowed."]
    parts = [f"### Against {revision}", *verdict, changes("params", revision), changes("metrics", revision)]
    print("\n\n".join([*parts, figures(commit, os.environ.get("FIGURES_URL"))]))
    if fallen:
        raise UserError("; ".join(fallen))


if __name__ == "__main__":
    cli.run(main)
