"""The end of make repro: say so where the outputs are of another kind of machine than those in HEAD."""

import json
from collections.abc import Mapping
from pathlib import Path

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.experiments import dvc

TOLERANCE = 0.01  # of a metric; what was measured is in docs/experiments.md


def difference(committed: Mapping[str, str], made: Mapping[str, str]) -> str:
    """What differs between two kinds of machine, in words; empty if nothing does."""
    return "; ".join(
        f"{name} {made.get(name, 'none')}, not {committed.get(name, 'none')}"
        for name in sorted({*committed, *made})
        if committed.get(name) != made.get(name)
    )


def main(lock: Path, record: Path) -> None:
    try:
        committed = json.loads(dvc.at("HEAD", record.as_posix()))
    except UserError:  # without Git, or before the first commit of outputs
        return
    if different := difference(committed, json.loads(record.read_text(encoding="utf-8"))):
        print(
            f"This is another kind of machine than that of HEAD ({different}): the last digits of features and weights "
            f"differ, so metrics may by up to {TOLERANCE:g} (docs/experiments.md). "
            f"Back to HEAD: git restore {lock} {record.parent}"
        )


if __name__ == "__main__":
    cli.run(main)
