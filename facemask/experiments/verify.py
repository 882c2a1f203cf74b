"""Make every output anew, in a clone of HEAD that has no cache, and hold it against the committed dvc.lock.

    python -m facemask.experiments.verify

ends with status 0 if every byte is the same. Where one is not, it says where the first difference
is and what of this machine may be the reason. What HEAD does not hold is not looked at; photos and
weights outside Git must be named by absolute paths.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from graphlib import TopologicalSorter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from facemask.core import cli
from facemask.core.errors import UserError

Stages = Mapping[str, Mapping[str, Any]]


def in_order(stages: Stages) -> list[str]:
    """The stages of a dvc.lock, each after those whose outputs it reads."""
    makers = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    reads = {
        name: {makers[dep["path"]] for dep in stage.get("deps", []) if dep["path"] in makers}
        for name, stage in stages.items()
    }
    return list(TopologicalSorter(reads).static_order())


def differences(committed: Stages, made: Stages) -> dict[str, list[str]]:
    """The outputs that differ, or are in one lock alone, by stage; first the stage that runs first."""
    found = {}
    for name in in_order({**made, **committed}):
        before, after = (
            {out["path"]: out.get("md5") for out in lock.get(name, {}).get("outs", [])} for lock in (committed, made)
        )
        if paths := sorted(path for path in before | after if before.get(path) != after.get(path)):
            found[name] = paths
    return found


def other_packages(requirements: str) -> list[str]:
    """Installed packages that are not what a requirements file pins, a line each."""
    lines = []
    for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", requirements, re.MULTILINE):
        pinned = Requirement(line)
        if pinned.marker and not pinned.marker.evaluate():
            continue
        try:
            installed = version(pinned.name)
        except PackageNotFoundError:
            installed = "not installed"
        if not pinned.specifier.contains(installed, prereleases=True):
            lines.append(f"{pinned.name} {installed}, pinned {pinned.specifier}")
    return lines


def processor() -> str:
    """Model and vector instructions of this machine's processor."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    flags = set(told.split())
    has = [name for name, flag in (("AVX2", "avx2"), ("AVX-512", "avx512f")) if flag in flags]
    return f"{model[1] if model else platform.machine()}, {' and '.join(has) or 'no AVX2'}"


def reasons(threads: int | None, requirements: str) -> str:
    """What of this machine may give other bytes; `threads` is given if TensorFlow made the difference."""
    packages = other_packages(requirements)
    lines = [
        f"Python {platform.python_version()}, {processor()}, {os.cpu_count()} cores",
        "packages: " + ("; ".join(packages) if packages else "as requirements.lock pins them"),
    ]
    if threads is not None:
        lines.append(
            f"TensorFlow, on {threads} threads, adds in another order on a processor with other vector instructions: "
            "the last digits of a trained network differ between AVX2 and AVX-512"
        )
    elif not packages:
        lines.append("nothing before TensorFlow depends on the processor: this may be a defect; please report it")
    return "\n".join(f"  {line}" for line in lines)


def run(*args: str, folder: Path) -> None:
    """Run a command in a folder, its output shown.

    Raises
    ------
    UserError
        If it fails.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    environment = {**kept, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(args, cwd=folder, env=environment, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"{' '.join(args[:2])} failed in the clone (status {done.returncode}); its last lines say why")


def verify() -> None:
    checkout = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="facemask-verify-") as folder:
        clone = Path(folder, "clone")
        run("git", "clone", "--quiet", str(checkout), str(clone), folder=checkout)
        lock = clone / "dvc.lock"
        if not lock.is_file():
            raise UserError("HEAD has no dvc.lock to hold anything against; run dvc repro and commit what it writes")
        committed = yaml.safe_load(lock.read_text())["stages"]
        # A cache that the user shares between repositories would bring the outputs back unmade.
        run("dvc", "config", "--local", "cache.dir", str(clone / ".dvc/cache"), folder=clone)
        run("dvc", "repro", "--force", "--no-run-cache", folder=clone)
        made = yaml.safe_load(lock.read_text())["stages"]
        requirements = (clone / "requirements.lock").read_text()
    outputs = sum(len(stage.get("outs", [])) for stage in committed.values())
    different = differences(committed, made)
    if not different:
        print(f"verified: {outputs} outputs of {len(committed)} stages are, byte for byte, what dvc.lock says")
        return
    first, *later = different
    threads = committed.get(first, {}).get("params", {}).get("params.yaml", {}).get("threads")
    print(f"\n{first} is the first stage that differs: {', '.join(different[first])}", file=sys.stderr)
    if later:
        print(f"after it: {', '.join(later)}", file=sys.stderr)
    print(reasons(threads, requirements), file=sys.stderr)
    raise UserError(f"{sum(map(len, different.values()))} of {outputs} outputs are not what dvc.lock says")


if __name__ == "__main__":
    cli.run(verify)
