"""Whatever DVC does with experiments afterwards, MLflow keeps their rows and files."""

import time
from pathlib import Path

import mlflow
import pytest
from conftest import commit, shell

from facemask import experiments
from facemask.errors import UserError

pytestmark = pytest.mark.slow


def rows(folder: Path) -> dict[str, set[str]]:
    """The artifacts of every run, by its name."""
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    found = {}
    for run in mlflow.search_runs(experiment_names=["facemask"], output_format="list"):
        kept = Path(run.info.artifact_uri.removeprefix("file://"))
        found[run.info.run_name] = {file.relative_to(kept).as_posix() for file in kept.rglob("*") if file.is_file()}
    return found


def test_apply_branch_remove_and_collect_leave_runs_as_they_are(copy, monkeypatch):
    monkeypatch.chdir(copy)
    (copy / "README.md").write_text("changed, not committed\n")
    shell("dvc", "exp", "run", "--temp", "--name", "try", "--set-param", "lr=1e-4", cwd=copy)
    recorded = rows(copy)
    assert recorded["try"] >= {"tflite/int8.tflite", "history.csv", "figures/test_roc.png"}
    assert "lr: 0.003" in (copy / "params.yaml").read_text()
    assert (copy / "README.md").read_text() == "changed, not committed\n"
    assert experiments.names() == ["try"]
    assert "try" in shell("dvc", "exp", "show", "--md", cwd=copy)
    made = experiments.run_of("try").info.run_id

    shell("git", "checkout", "README.md", cwd=copy)
    shell("dvc", "exp", "apply", "try", cwd=copy)
    assert "up to date" in shell("dvc", "repro", cwd=copy)
    shell("dvc", "exp", "branch", "try", "kept", cwd=copy)
    commit(copy, "applied")
    shell("dvc", "exp", "remove", "--rev", "HEAD~1", "try", cwd=copy)
    shell("dvc", "gc", "--all-branches", "--force", cwd=copy)
    assert rows(copy) == recorded
    assert experiments.run_of("kept").info.run_id == experiments.run_of("HEAD").info.run_id == made
    with pytest.raises(UserError, match="there is no experiment or revision try"):
        experiments.run_of("try")


def test_a_killed_experiment_of_the_queue_leaves_no_half_row(copy):
    before = rows(copy)
    shell("dvc", "exp", "run", "--queue", "--name", "endless", "--set-param", "epochs=100000",
          "--set-param", "patience=100000", "--set-param", "lr=1e-7", cwd=copy)  # fmt: skip
    shell("dvc", "queue", "start", cwd=copy)
    for _ in range(180):
        if "Epoch 2/" in shell("dvc", "queue", "logs", "endless", cwd=copy):
            break
        time.sleep(1)
    shell("dvc", "queue", "kill", "--force", "endless", cwd=copy)
    shell("dvc", "queue", "stop", "--kill", cwd=copy)
    assert rows(copy) == before
    shell("dvc", "exp", "run", "--temp", "--name", "next", "--set-param", "lr=1e-4", cwd=copy)
    assert set(rows(copy)) == {*before, "next"}
