"""MLflow: one run an execution, in the user's store, identified by its hash, without secrets."""

import hashlib
import json
import os
import sqlite3
import string
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import mlflow
import numpy as np
import pandas as pd
import programs
import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.experiments import measurements, tracking, view
from facemask.experiments.mlflow_store import DESCRIPTION, EXPERIMENT, store, without_credentials
from facemask.experiments.served import Served

CLASSES = ("with_mask", "mask (worn)")


@pytest.fixture
def files(tmp_path) -> dict:
    """Minimal arguments of `tracking.record`."""
    tflite = tmp_path / "tflite"
    tflite.mkdir()
    (tflite / "labels.txt").write_text("".join(f"{label}\n" for label in CLASSES))
    for name in ("decision.json", "float32.tflite"):
        (tflite / name).write_text("{}")
    rows = [("photos", "a.png", "with_mask", "train"), ("photos", "b.png", "mask (worn)", "test"),
            ("scenes", "c.png", "with_mask", "scenes")]  # fmt: skip
    pd.DataFrame(rows, columns=["dataset", "member", "label", "split"]).to_csv(tmp_path / "manifest.csv", index=False)
    return {
        "description": "what it is",
        "manifest": tmp_path / "manifest.csv",
        "history": pd.DataFrame({"epoch": [1, 2], "loss": [0.9, 0.5]}),
        "predictions": pd.DataFrame({"member": ["b.png"], "label": ["mask (worn)"]}),
        "tflite": tflite,
        "size": 32,
        "files": [tflite],
    }


def record(files: dict, digest: str, accuracy: float, **parameters) -> None:
    metrics = {"accuracy": accuracy, "test.mask _worn_.f1": 0.5}
    row = {"parameters": {"lr": 0.1} | parameters, "metrics": metrics, "tags": {"dataset": "photos"}}
    tracking.record(row, digest, **files)


def runs(folder: Path) -> list:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")


def test_a_run_is_complete_and_found_by_its_hash(files, tmp_path, capfd):
    record(files, "one", 0.9)
    record(files, "other", 0.8)
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    with store() as experiment:
        run = tracking.run_of("one", experiment)
        assert tracking.run_of("none", experiment) is None
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.9, "test.mask _worn_.f1": 0.5, "epoch.loss": 0.5}
    assert run.data.tags["mlflow.note.content"] == "what it is"
    curve = MlflowClient().get_metric_history(run.info.run_id, "epoch.loss")
    assert [metric.value for metric in curve] == [0.9, 0.5]
    assert len(runs(tmp_path)) == 2


def test_a_run_has_its_datasets_and_the_logged_model_its_metrics(files):
    record(files, "one", 0.9)
    with store() as experiment:
        run = tracking.run_of("one", experiment)
        used = {entry.dataset.name: entry.tags[0].value for entry in run.inputs.dataset_inputs}
        assert used == {"photos": "training", "scenes": "test"}
        [model] = mlflow.search_logged_models([experiment], output_format="list")
        found = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics}
        assert found["accuracy"] == (0.9, "photos")
        [version] = MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
        assert version.source == model.model_uri
        assert MlflowClient().get_experiment(experiment).tags["mlflow.note.content"] == DESCRIPTION


def test_the_digest_of_a_dataset_is_that_of_its_own_rows(files):
    before = tracking.datasets(files["manifest"])[0][0].digest
    table = read_csv(files["manifest"])
    table[table.dataset == "photos"].to_csv(files["manifest"], index=False)
    assert [dataset.digest for dataset, _ in tracking.datasets(files["manifest"])] == [before]
    table.assign(split="train").to_csv(files["manifest"], index=False)
    assert tracking.datasets(files["manifest"])[0][0].digest != before


def test_a_stage_in_a_temporary_workspace_records_in_the_users_checkout(files, tmp_path, monkeypatch):
    checkout, workspace = tmp_path / "checkout", tmp_path / "workspace"
    checkout.mkdir()
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(checkout))
    monkeypatch.setenv("DVC_EXP_NAME", "brave-mask")
    measurements.note(b"model", seconds=2.5)
    measurements.note(b"model", seconds=3.5)
    record(files, "one", 0.9)
    [run] = runs(checkout)
    assert run.info.run_name == "brave-mask"
    assert run.data.tags["dvc.exp_name"] == "brave-mask"
    assert run.info.artifact_uri.startswith((checkout / "mlartifacts").as_uri())
    assert measurements.of(b"model") == {"seconds": 3.5}
    assert measurements.of(b"another") == {}
    with (checkout / "measurements.csv").open("a") as file:
        file.write(hashlib.sha256(b"model").hexdigest() + ",sec")  # a full disk
    measurements.note(b"model", seconds=4.5)
    assert set(measurements.of(b"model")) <= {"seconds"}
    assert not list(workspace.iterdir())


def test_simultaneous_first_uses_are_all_recorded(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "recording", f"0.{number}"],
            cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": ""}, stderr=subprocess.PIPE,
        )
        for number in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.communicate()[1] == b""
    assert sorted(run.data.metrics["accuracy"] for run in runs(tmp_path)) == [0, 0.1, 0.2]


@pytest.mark.parametrize("name", ["100% mine", "is it?", "a#b%20\u00e9"])
def test_a_checkout_may_be_in_a_folder_of_any_name(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    done = programs.run("recording", 0.9, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        assert store.execute("SELECT key, value FROM metrics").fetchall() == [("accuracy", 0.9)]
    assert [path.name for path in (folder / "mlartifacts").rglob("*") if path.is_file()] == ["some.txt"]
    assert list(tmp_path.iterdir()) == [folder]


def test_names_stay_different_in_the_characters_that_mlflow_accepts():
    assert tracking.flatten({"a": {"b": 1, "c (d)": {"e": 0.5}, "c [d]": 2}}) == {
        "a.b": 1, "a.c _d_.e": 0.5, "a.c _d__": 2,
    }  # fmt: skip


SECRET = "s3cr3tw0rd"


@pytest.mark.parametrize(
    "uri",
    [f"http://user:{SECRET}@127.0.0.1:9", f"http://user:5000/{SECRET}@127.0.0.1:9", f"http://{SECRET}@127.0.0.1:9",
     f"postgresql+psycopg://user:a@b/{SECRET}@/nothing?host=/nowhere&sslpassword={SECRET}", f"nothing://u:{SECRET}@h"],
)  # fmt: skip
def test_an_unreachable_store_is_one_line_without_secrets(uri, files, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)
    record(files, "one", 0.9)
    printed = capfd.readouterr()
    [line] = printed.err.splitlines()
    assert line.startswith("warning: not recorded in MLflow (UserError: MLflow at ")
    assert SECRET not in printed.out + printed.err
    with pytest.raises(UserError) as caught, store():
        pass
    assert SECRET not in str(caught.value)


ODD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=10)


@given(st.text(string.ascii_letters, min_size=1), ODD, st.sampled_from(["http", "https", "postgresql+psycopg"]))
@example("user", "1234/5@6", "http")
@example("user", "%2F", "https")
def test_credentials_of_a_server_go_into_mlflows_variables_not_into_its_address(user, password, scheme):
    variables = dict.fromkeys(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"))
    try:
        given_to_mlflow = without_credentials(f"{scheme}://{user}:{password}@host:5000/path")
        parts = urlsplit(given_to_mlflow)
        assert (parts.hostname, parts.port, parts.path) == ("host", 5000, "/path")
        if scheme.startswith("http"):
            assert parts.netloc == "host:5000"
            assert os.environ["MLFLOW_TRACKING_USERNAME"] == user
            assert os.environ["MLFLOW_TRACKING_PASSWORD"] == unquote(password)
        else:
            assert unquote(parts.password) == unquote(password)
    finally:
        for name in variables:
            os.environ.pop(name, None)


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host/team@org", "sqlite:////tmp/a@b/mlflow.db"])
def test_an_address_without_credentials_is_unchanged(uri):
    assert without_credentials(uri) == uri


def test_the_page_of_the_runs_shows_the_dataset_changed_parameters_and_headlines(files):
    with pytest.raises(UserError, match="no such runs"):
        view.choose()
    record(files, "one", 0.9, **{"head.units": "[8]"})
    record(files, "other", 0.8, lr=0.2, **{"head.units": "[]"})
    pages = view.choose()
    assert pages["runs"] == "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=facemask"
    with store() as experiment:
        tags = MlflowClient().get_experiment(experiment).tags
        state = json.loads(tags["mlflow.sharedViewState.facemask"])
        for run in mlflow.search_runs([experiment], output_format="list"):
            assert run.info.run_id in pages["compared"]
    assert state["selectedColumns"] == ["attributes.`Dataset`", "params.`lr`", "params.`head.units`",
                                        "metrics.`accuracy`"]  # fmt: skip


def test_the_scores_are_of_the_dataset_that_was_tested_on(files):
    table = read_csv(files["manifest"])
    extra = table.assign(dataset="extra", split="train")
    pd.concat([extra, table]).to_csv(files["manifest"], index=False)
    assert [context for _, context in tracking.datasets(files["manifest"])][:1] == ["training"]
    assert tracking.datasets(files["manifest"])[0][0].name == "photos"


def test_a_baseline_that_cannot_be_read_is_none(files, monkeypatch):
    Path("params.yaml").write_text("classes: {0: [a]}\nlr: 0.1\n")
    for before in ("classes: {0: [a]}\nlr: 0.2\n", "lr: [", "- 1\n", None):
        monkeypatch.setattr(tracking, "baseline", lambda file, before=before: before)
        text = tracking.description(Path("params.yaml"), "Reached.", "card.md")
        assert ("- `lr`: 0.2 → 0.1" in text) == (before == "classes: {0: [a]}\nlr: 0.2\n")
        assert "the artifact `card.md`" in text


def test_the_served_model_answers_many_requests_at_once(exported):
    served = Served()
    served.load_context(SimpleNamespace(artifacts={"tflite": str(exported)}))
    shape = served.network.get_input_details()[0]["shape"]
    photos = np.random.default_rng(0).integers(0, 256, (24, *shape), np.uint8)
    alone = [served.predict(None, photo) for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda photo: served.predict(None, photo), photos))
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)
