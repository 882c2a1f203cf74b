"""DVC's experiments and commits, and the MLflow run of the model that each of them made."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facemask.core.errors import UserError
from facemask.experiments import tracking

if TYPE_CHECKING:
    import mlflow

MODEL = "models/model.keras"
ALLOWED_LOSS = 0.005  # of test accuracy: two photos of 383


def git(*words: str) -> str:
    """What a Git command prints.

    Raises
    ------
    UserError
        If it fails: its own words.
    """
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(done.stderr.strip())
    return done.stdout.strip()


def commit_of(revision: str) -> str:
    """The commit that a branch, a tag, a hash or the name of a DVC experiment stands for.

    Raises
    ------
    UserError
        If it stands for none.
    """
    from dvc.repo import Repo
    from dvc.scm import RevError, resolve_rev

    try:
        with Repo() as repo:
            return resolve_rev(repo.scm, revision)
    except RevError:
        raise UserError(f"there is no experiment or revision {revision}; dvc exp list shows the experiments") from None


def dvc(*words: str) -> str:
    """What a DVC command prints; its errors it says itself.

    Raises
    ------
    UserError
        If it fails.
    """
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc {' '.join(words[:2])} ended with status {done.returncode}")
    return done.stdout.strip()


def at(commit: str, file: str) -> str:
    """What a file that Git holds says in a commit.

    Raises
    ------
    UserError
        If there is no such file in it.
    """
    return git("show", f"{commit}:{file}")


def names() -> list[str]:
    """The experiments that stand on the checked-out commit."""
    return dvc("exp", "list", "--name-only").split()


def run(name: str, changes: Sequence[str]) -> str | None:
    """Run an experiment in a temporary copy of the commit, apart from all others; None, or why it failed.

    Parameters
    ----------
    changes : sequence of str
        As `dvc exp run -S` takes them: lr=1e-4.
    """
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name]
    for change in changes:
        command += ["--set-param", change]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        said = []
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.strip())
    if process.returncode == 0:
        return None
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")] or said[-1:] or ["no words"]
    stage = re.search(r"failed to reproduce '(\w+)'", errors[0])
    words = [line for line in said if stage and line.startswith(f"{stage[1]}: ")]
    return (words or errors)[-1]


def model_sha256(revision: str) -> str:
    """The hash of the model that `dvc.lock` holds at a commit, or that an experiment made.

    Raises
    ------
    UserError
        If there is no such revision, or its model is not in DVC's cache.
    """
    from dvc import api
    from dvc.exceptions import DvcException

    digest = hashlib.sha256()
    try:
        with api.open(MODEL, rev=commit_of(revision), mode="rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except (DvcException, OSError) as error:
        raise UserError(
            f"{revision}: {MODEL} is not at hand ({error}); bring it with: dvc fetch, or dvc repro"
        ) from None
    return digest.hexdigest()


def run_of(revision: str) -> "mlflow.entities.Run":
    """The newest MLflow run of a revision's model.

    Raises
    ------
    UserError
        If there is none.
    """
    import mlflow

    digest = model_sha256(revision)
    with tracking.quiet(), tracking.store() as experiment:
        found = mlflow.search_runs([experiment], f"tags.{tracking.MODEL_TAG} = '{digest}'", output_format="list")
    if not found:
        raise UserError(f"{revision}: no run in MLflow made the model that its dvc.lock holds (sha256 {digest[:16]})")
    return found[0]
