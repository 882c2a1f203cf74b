"""Git, DVC and its experiments, and the dvc.lock of a commit."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence

import yaml

from facemask.core.errors import UserError

MANIFEST = "data/manifest.csv"
RECORD = "metrics/record.json"
SCORES = "metrics/scores.csv"


def git(*args: str) -> str:
    """What a Git command prints.

    Raises
    ------
    UserError
        If it fails, with Git's own message.
    """
    done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip())
    return done.stdout.strip()


def commit_of(revision: str) -> str:
    """The commit of a DVC experiment, one on this commit first, or of a branch, a tag or a hash.

    Raises
    ------
    UserError
        If there is none, or more than one.
    """
    from dvc.repo import Repo
    from dvc.repo.experiments.exceptions import AmbiguousExpRefInfo
    from dvc.repo.experiments.utils import resolve_name
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo() as repo:
            experiment = resolve_name(repo.scm, revision).get(revision)
            return repo.scm.get_ref(str(experiment)) if experiment else resolve_rev(repo.scm, revision)
    except AmbiguousExpRefInfo as error:
        raise UserError(" ".join(str(error).split())) from None
    except RevError:
        raise UserError(f"there is no experiment or revision {revision}; dvc exp list shows the experiments") from None


def dvc(*args: str) -> str:
    """What a DVC command prints on standard output; its errors go to standard error.

    Raises
    ------
    UserError
        If it fails.
    """
    command = [sys.executable, "-m", "dvc", *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc {' '.join(args[:2])} ended with status {done.returncode}")
    return done.stdout.strip()


def at(commit: str, file: str) -> str:
    """The content of a file in a commit.

    Raises
    ------
    UserError
        If there is no such file in it.
    """
    return git("show", f"{commit}:{file}")


def names() -> list[str]:
    """The names of the experiments on the checked-out commit."""
    return dvc("exp", "list", "--name-only").split()


def run(name: str, changes: Sequence[str]) -> str | None:
    """Run an experiment in a temporary copy of the commit; return None, or why it failed.

    Parameters
    ----------
    changes : sequence of str
        As for `dvc exp run -S`: lr=1e-4.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    for change in changes:
        command += ["--set-param", change]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        lines = []
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.strip())
    if process.returncode == 0:
        return None
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    errors = errors or lines[-1:] or ["no output"]
    stage = re.search(r"failed to reproduce '(\w+)'", errors[0])
    reasons = [line for line in lines if stage and line.startswith(f"{stage[1]}: ")]
    return (reasons or errors)[-1]


def output(lock: str, path: str) -> str:
    """The md5 of an output in a dvc.lock.

    Raises
    ------
    UserError
        If it has none.
    """
    for stage in yaml.safe_load(lock)["stages"].values():
        for out in stage.get("outs", []):
            if out["path"] == path:
                return out["md5"]
    raise UserError(f"dvc.lock has no {path}; run: dvc repro")


def check_whole(commit: str) -> None:
    """Refuse a commit whose dvc.lock has an output that was made from other inputs than there are in the commit.

    Raises
    ------
    UserError
        Naming the stage, and the input that differs.
    """
    stages = yaml.safe_load(at(commit, "dvc.lock"))["stages"]
    made = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    for name, stage in stages.items():
        for used in stage.get("deps", []):
            if used["path"] not in made:
                made[used["path"]] = md5(commit, used["path"]) or used.get("md5")
            if made[used["path"]] != used.get("md5"):
                raise UserError(f"{name} was not run with this {used['path']}; run dvc repro, and commit")


def md5(commit: str, path: str) -> str | None:
    """The md5 of a file in a commit; None for a folder, and for what is not in it."""
    done = subprocess.run(["git", "cat-file", "blob", f"{commit}:{path}"], capture_output=True, check=False)
    return None if done.returncode else hashlib.md5(done.stdout, usedforsecurity=False).hexdigest()
