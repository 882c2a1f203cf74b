"""DVC's commands on experiments leave the runs in MLflow and their artifacts unchanged."""

import re
from contextlib import suppress
from pathlib import Path

import mlflow
import psutil
import pytest
from conftest import commit, shell, wait_until

from facemask.core.errors import UserError
from facemask.experiments import dvc, tracking
from facemask.experiments.mlflow_store import store

pytestmark = pytest.mark.slow

ARTIFACTS = {"tflite/int8.tflite", "history.csv", "figures/test_roc.png"}


def artifacts(folder: Path) -> dict[str, set[str]]:
    """The artifacts of every run, by its name."""
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    found = {}
    for run in mlflow.search_runs(experiment_names=["facemask"], output_format="list"):
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        found[run.info.run_name] = {file.relative_to(kept).as_posix() for file in kept.rglob("*") if file.is_file()}
    return found


def run_of(revision: str) -> str:
    """The id of the run of a revision."""
    with store() as experiment:
        return tracking.run_of(
            dvc.output(dvc.at(dvc.commit_of(revision), "dvc.lock"), dvc.RECORD), experiment
        ).info.run_id


def training(folder: Path) -> list[psutil.Process]:
    """The processes of the stage train below a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if "stages.train" in (process.info["cmdline"] or []) and process.cwd().startswith(str(folder)):
                found.append(process)
    return found


def test_a_temporary_experiment_leaves_changes_in_the_workspace_alone(copy):
    (copy / "README.md").write_text("changed, not committed\n")
    shell("dvc", "exp", "run", "--temp", "--name", "try", "--set-param", "lr=1e-4", cwd=copy)
    assert artifacts(copy)["try"] >= ARTIFACTS
    assert "lr: 0.003" in (copy / "params.yaml").read_text()
    assert (copy / "README.md").read_text() == "changed, not committed\n"
    assert "try" in shell("dvc", "exp", "show", "--md", cwd=copy)


def test_an_experiment_in_a_dirty_workspace_includes_the_change_and_keeps_it(copy, monkeypatch):
    """A change in the code of a stage is part of the experiment: DVC commits it with the results."""
    monkeypatch.chdir(copy)
    code = copy / "stages/train.py"
    code.write_text(code.read_text() + "# changed\n")
    shell("dvc", "exp", "run", "--name", "dirty", "--set-param", "lr=1e-4", cwd=copy)
    assert code.read_text().endswith("# changed\n")
    assert artifacts(copy)["dirty"] >= ARTIFACTS
    assert shell("git", "show", f"{dvc.commit_of('dirty')}:stages/train.py", cwd=copy).endswith("# changed\n")


def test_apply_branch_remove_and_gc_leave_runs_unchanged(copy, monkeypatch):
    monkeypatch.chdir(copy)
    shell("dvc", "exp", "run", "--temp", "--name", "try", "--set-param", "lr=1e-4", cwd=copy)
    recorded = artifacts(copy)
    made = run_of("try")
    shell("dvc", "exp", "apply", "try", cwd=copy)
    assert "up to date" in shell("dvc", "repro", cwd=copy)
    shell("dvc", "exp", "branch", "try", "kept", cwd=copy)
    commit(copy, "applied")
    shell("dvc", "exp", "remove", "--rev", "HEAD~1", cwd=copy)
    shell("dvc", "gc", "--all-branches", "--force", cwd=copy)
    assert artifacts(copy) == recorded
    assert run_of("kept") == run_of("HEAD") == made
    with pytest.raises(UserError, match="there is no experiment or revision try"):
        run_of("try")


def test_a_killed_experiment_of_the_queue_leaves_no_partial_run_and_the_next_is_complete(copy):
    before = artifacts(copy)
    endless = ["--set-param", "epochs=100000", "--set-param", "patience=100000", "--set-param", "lr=1e-7"]
    shell("dvc", "exp", "run", "--queue", "--name", "endless", *endless, cwd=copy)
    shell("dvc", "queue", "start", cwd=copy)

    def status() -> str:
        return shell("dvc", "queue", "status", cwd=copy)

    def running() -> bool:
        shown = status()
        assert "Failed" not in shown
        return bool(re.search(r"endless .*Running", shown))

    wait_until(running, "the experiment runs", 300)
    wait_until(lambda: "Epoch 2" in shell("dvc", "queue", "logs", "endless", cwd=copy), "the second epoch begins", 300)
    shell("dvc", "queue", "kill", "endless", cwd=copy)
    wait_until(lambda: not training(copy), "the training ends")
    assert artifacts(copy) == before
    wait_until(lambda: "Running" not in status(), "no experiment runs")
    assert re.search(r"endless .*Failed", status())
    shell("dvc", "exp", "run", "--temp", "--name", "next", "--set-param", "lr=1e-4", cwd=copy)
    after = artifacts(copy)
    assert after.keys() == {*before, "next"}
    assert after["next"] >= ARTIFACTS
