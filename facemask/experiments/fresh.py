"""Check that every dvc.lock fits the code and the parameters; data need not be there.

    python -m facemask.experiments.fresh

`dvc status` is no such check: in a fresh clone it reports that all data is missing.
"""

import re
import subprocess
import sys

from facemask.core import cli
from facemask.core.errors import UserError


def check() -> None:
    command = [sys.executable, "-m", "dvc", "repro", "--dry", "--allow-missing", "--all-pipelines"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode == 0 and "up to date" in done.stdout:
        return
    # A stage without its inputs cannot even be run dry, which DVC reports as a failure.
    stage = re.search(r"(?:Running stage|failed to reproduce) '(?:(?P<file>[^':]+):)?(?P<name>[^']+)'", done.stdout)
    if not stage:
        raise UserError(done.stdout.strip().rpartition("\n")[2])
    file = stage["file"] or "dvc.yaml"
    lock = file.replace(".yaml", ".lock")
    raise UserError(
        f"{lock} does not fit code and parameters: the first stage out of date is {stage['name']}; "
        f"run: dvc repro {file}, and commit {lock}"
    )


if __name__ == "__main__":
    cli.run(check)
