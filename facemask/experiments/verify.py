"""Reproduce every output in a clone of HEAD without a cache, and compare it with the committed dvc.lock.

    python -m facemask.experiments.verify

ends with status 0 if every byte is the same; or, on another kind of machine than that of dvc.lock, if no metric differs
by more than the tolerance, and all that is made without a network is the same. Otherwise it reports the first
difference and possible reasons on this machine. Uncommitted changes are ignored; photos and weights outside Git need
absolute paths.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path
from typing import Any

import yaml

from facemask.core import cli, machine
from facemask.core.errors import UserError
from facemask.experiments.machine import TOLERANCE, difference
from facemask.experiments.requirements import pins

WITHOUT_NETWORK = {"fetch", "survey", "split", "augment"}  # the same on every processor
Stages = Mapping[str, Mapping[str, Any]]


def in_order(stages: Stages) -> list[str]:
    """The stages of a dvc.lock in topological order."""
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    reads = {
        name: {makers[dep["path"]] for dep in stage.get("deps", []) if dep["path"] in makers}
        for name, stage in stages.items()
    }
    return list(TopologicalSorter(reads).static_order())


def differences(committed: Stages, made: Stages) -> dict[str, list[str]]:
    """The outputs that differ, or are in only one of the locks, by stage, in the order of execution."""
    found = {}
    for name in in_order({**made, **committed}):
        before, after = (
            {out["path"]: out.get("md5") for out in lock.get(name, {}).get("outs", [])} for lock in (committed, made)
        )
        if paths := sorted(path for path in before | after if before.get(path) != after.get(path)):
            found[name] = paths
    return found


def other_packages(requirements: str) -> list[str]:
    """Installed packages that differ from a requirements file, a line each."""
    lines = []
    for pinned in pins(requirements):
        if pinned.marker and not pinned.marker.evaluate():
            continue
        try:
            installed = version(pinned.name)
        except PackageNotFoundError:
            installed = "not installed"
        if not pinned.specifier.contains(installed, prereleases=True):
            lines.append(f"{pinned.name} {installed}, pinned {pinned.specifier}")
    return lines


def largest(changes: Mapping[str, Mapping[str, Any]]) -> tuple[float, str]:
    """The largest difference of a metric, and its name: of what `dvc metrics diff --json` prints."""
    return max(
        ((abs(one.get("diff", inf)), name) for metrics in changes.values() for name, one in metrics.items()),
        default=(0.0, "no metric"),
    )


def kind_in(clone: Path) -> dict[str, str]:
    """The kind of machine that a clone's outputs are of; empty, if none of them says so."""
    record = clone / "metrics/machine.json"
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def reasons(threads: int | None, requirements: str, of_user: bool = False) -> str:
    """Possible reasons for other bytes on this machine.

    Parameters
    ----------
    threads : int or None
        If TensorFlow made them.
    requirements : str
        The content of requirements.lock.
    of_user : bool
        Whether they are photos of the user's.
    """
    packages = other_packages(requirements)
    lines = [
        f"Python {platform.python_version()}, {machine.processor()}, {os.cpu_count()} cores",
        "packages: " + ("; ".join(packages) if packages else "as in requirements.lock"),
    ]
    if of_user:
        lines.append(
            "a dataset may hold other photos than then; if that is meant: dvc repro -f fetch, dvc repro, and commit "
            "dvc.lock"
        )
    elif threads is not None:
        lines.append(
            f"TensorFlow, on {threads} threads, sums in another order on a processor with other vector instructions: "
            "the last digits of a trained network differ between AVX2 and AVX-512"
        )
    elif not packages:
        lines.append("this stage does not depend on the processor: this may be a bug; please report it")
    return "\n".join(f"  {line}" for line in lines)


def run(*args: str, folder: Path, captured: bool = False) -> str:
    """Run a command in a folder, with its output shown, or returned.

    Raises
    ------
    UserError
        If it fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    environment = {**kept, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    output = subprocess.PIPE if captured else None
    done = subprocess.run(args, cwd=folder, env=environment, stdout=output, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"{' '.join(args[:2])} failed in the clone (status {done.returncode}); see its output")
    return done.stdout or ""


def verify() -> None:
    checkout = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="facemask-verify-") as folder:
        clone = Path(folder, "clone")
        run("git", "clone", "--quiet", str(checkout), str(clone), folder=checkout)
        lock = clone / "dvc.lock"
        if not lock.is_file():
            raise UserError("HEAD has no dvc.lock to compare with; run dvc repro and commit the result")
        committed, kind = yaml.safe_load(lock.read_text())["stages"], kind_in(clone)
        # A cache shared between repositories would restore the outputs.
        run("dvc", "config", "--local", "cache.dir", str(clone / ".dvc/cache"), folder=clone)
        run("dvc", "repro", "--force", "--no-run-cache", folder=clone)
        made = yaml.safe_load(lock.read_text())["stages"]
        requirements = (clone / "requirements.lock").read_text()
        other = difference(kind, kind_in(clone))
        change, metric = largest(json.loads(run("dvc", "metrics", "diff", "--json", folder=clone, captured=True)))
    outputs = sum(len(stage.get("outs", [])) for stage in committed.values())
    different = differences(committed, made)
    if not different:
        print(f"verified: {outputs} outputs of {len(committed)} stages are byte for byte as in dvc.lock")
        return
    count = f"{sum(map(len, different.values()))} of {outputs} outputs"
    if other and change <= TOLERANCE and not WITHOUT_NETWORK & different.keys():
        print(
            f"verified within {TOLERANCE:g}: {metric} differs most, by {change:.6f}; {count} have other last digits, "
            f"as this is another kind of machine ({other})"
        )
        return
    first, *later = different
    read = committed.get(first, {}).get("params", {}).get("params.yaml", {})
    print(f"\n{first} is the first stage that differs: {', '.join(different[first])}", file=sys.stderr)
    if later:
        print(f"after it: {', '.join(later)}", file=sys.stderr)
    of_user = first == "fetch" and any(one["source"] != "synthetic" for one in read["datasets"].values())
    print(reasons(read.get("threads"), requirements, of_user), file=sys.stderr)
    raise UserError(f"{count} differ from dvc.lock")


if __name__ == "__main__":
    cli.run(verify)
