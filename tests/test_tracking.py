"""MLflow: one row a model, in the user's own store, and never a lost training."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from conftest import ROOT

from facemask.experiments import tracking

RECORD = """
import sys
from pathlib import Path
from facemask.experiments import tracking
model = Path(sys.argv[1])
tracking.record(model, "evaluate", {"test": {"accuracy": float(sys.argv[2]), "note": "text"}}, [model])
"""


def runs(folder: Path) -> list:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return mlflow.search_runs(experiment_names=[tracking.EXPERIMENT], output_format="list")


@pytest.fixture
def model(tmp_path) -> Path:
    file = tmp_path / "model.keras"
    file.write_bytes(b"weights")
    return file


def test_stages_find_the_run_of_a_model_again(model, tmp_path):
    tracking.record(model, "evaluate", {"test": {"accuracy": 0.9}}, [model])
    tracking.record(model, "export", {"export": {"int8": {"accuracy": 0.8}}}, [])
    [run] = runs(tmp_path)
    assert run.data.metrics == {"test.accuracy": 0.9, "export.int8.accuracy": 0.8}
    assert {"stage.evaluate", "stage.export"} <= set(run.data.tags)
    model.write_bytes(b"other weights")
    tracking.record(model, "evaluate", {}, [])
    assert len(runs(tmp_path)) == 2


def test_a_stage_in_a_temporary_workspace_records_in_the_users_checkout(model, tmp_path, monkeypatch):
    checkout, workspace = tmp_path / "checkout", tmp_path / "workspace"
    checkout.mkdir()
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(checkout))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-mask")
    tracking.record(model, "evaluate", {}, [model])
    [run] = runs(checkout)
    assert run.info.run_name == "brave-mask"
    assert run.data.tags["dvc.exp_name"] == "brave-mask"
    assert run.info.artifact_uri.startswith((checkout / "mlartifacts").as_uri())
    assert not list(workspace.iterdir())


@pytest.mark.parametrize("name", ["100% mine", "is it?", "a#b%20\u00e9"])
def test_a_checkout_may_lie_in_a_folder_of_any_name(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"weights")
    words = [sys.executable, "-c", RECORD, "model.keras", "0.9"]
    done = subprocess.run(words, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, check=True)
    assert done.stderr == b""
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        assert store.execute("SELECT key, value FROM metrics").fetchall() == [("test.accuracy", 0.9)]
    assert [path.name for path in (folder / "mlartifacts").rglob("*") if path.is_file()] == ["model.keras"]
    assert list(tmp_path.iterdir()) == [folder]


def test_first_uses_at_the_same_time_lose_nothing(tmp_path):
    processes = []
    for number in range(3):
        (tmp_path / f"{number}.keras").write_text(str(number))
        words = [sys.executable, "-c", RECORD, f"{number}.keras", f"0.{number}"]
        processes.append(
            subprocess.Popen(words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, stderr=subprocess.PIPE)
        )
    for process in processes:
        assert process.communicate()[1] == b""
    assert sorted(run.data.metrics["test.accuracy"] for run in runs(tmp_path)) == [0, 0.1, 0.2]


def test_a_server_that_is_down_is_a_warning(model, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking.record(model, "evaluate", {}, [])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: not recorded in MLflow (MlflowException: ")


def test_nested_metrics_become_dotted_names():
    assert tracking.numbers({"a": {"b": 1, "c": "text", "d": {"e": 0.5}}}) == {"a.b": 1.0, "a.d.e": 0.5}
