"""The champion: it moves to a model that passes the gates, or one line says why not."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import programs
import pytest
import requests
import yaml
from conftest import answers, commit, free_port, shell, wait_until
from mlflow.tracking import MlflowClient
from test_pipeline import ran

from facemask.core.tables import read_csv
from facemask.data import shards
from facemask.engines import litert
from facemask.experiments import dvc, tracking
from facemask.experiments.mlflow_store import store


def promote(folder: Path, name: str, *more: str, **environment) -> subprocess.CompletedProcess:
    return programs.run("facemask.experiments.promote", f"revision={name}", *more, folder=folder, **environment)


def refusal(folder: Path, name: str, *more: str, **environment) -> str:
    """The one line with which a promotion is refused."""
    done = promote(folder, name, *more, **environment)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture
def client(copy) -> MlflowClient:
    """The registry of a reproduced repository that a test may change."""
    mlflow.set_tracking_uri(f"sqlite:///{copy}/mlflow.db")
    return MlflowClient()


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("facemask", "champion").version)


@pytest.mark.slow
def test_the_champion_moves_to_an_experiment_and_back(copy, client):
    shell("dvc", "exp", "run", "--temp", "--name", "slower", "--set-param", "lr=1e-4", cwd=copy)
    scores = {name: client.get_run(client.get_model_version("facemask", version).run_id).data.metrics["accuracy"]
              for name, version in (("HEAD", "1"), ("slower", "2"))}  # fmt: skip
    worse, better = sorted(scores, key=scores.get)
    assert promote(copy, worse).returncode == 0
    moved = promote(copy, better)
    assert moved.returncode == 0
    assert f"of {better}, test accuracy {scores[better]:.4f} (before: version" in moved.stdout
    assert champion(client) == {"HEAD": "1", "slower": "2"}[better]


def test_a_model_that_fails_a_gate_is_refused_in_one_line(copy, client):
    assert "there is no experiment or revision nothing; dvc exp list" in refusal(copy, "nothing")
    assert "VERSION: 1.0 is not a version such as v1.0.0" in refusal(copy, "HEAD", "version=1.0")
    with (copy / "dvc.lock").open("a") as lock:
        lock.write("\n")
    assert "dvc.lock differs from HEAD; commit it first" in refusal(copy, "HEAD")
    shell("git", "checkout", "dvc.lock", cwd=copy)

    variants = pd.read_csv(copy / "metrics/variants.csv")
    variants.loc[variants.variant == "int8", "accuracy_drop"] = 0.95
    variants.to_csv(copy / "metrics/variants.csv", index=False)
    commit(copy, "lost by int8")
    assert "int8 loses 0.9500 of test accuracy; export.max_accuracy_drop allows 0.9" in refusal(copy, "main")
    shell("git", "reset", "--quiet", "--hard", "HEAD~1", cwd=copy)

    assert promote(copy, "HEAD").returncode == 0
    lock = (copy / "dvc.lock").read_text()
    with store() as experiment:
        client.set_tag(tracking.run_of(dvc.output(lock, dvc.RECORD), experiment).info.run_id, tracking.RECORD_TAG, "0")
    assert "HEAD: MLflow has no run of it; with that commit checked out: dvc repro" in refusal(copy, "HEAD")
    (copy / "dvc.lock").write_text(lock.replace(dvc.output(lock, "metrics/test.json"), "0" * 32, 1))
    commit(copy, "evaluated anew")
    assert "record was not run with this metrics/test.json; run dvc repro, and commit" in refusal(copy, "HEAD")
    stages = yaml.safe_load(lock)["stages"]
    weights = next(dep for dep in stages["evaluate"]["deps"] if dep["path"] == "models/trained.tflite")
    weights["md5"] = "0" * 32  # the scores are of an earlier model
    (copy / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    commit(copy, "trained anew")
    assert "evaluate was not run with this models/trained.tflite; run dvc repro" in refusal(copy, "HEAD")
    (copy / "dvc.lock").write_text(lock)
    with (copy / "params.yaml").open("a") as file:
        file.write("# another experiment\n")
    commit(copy, "other parameters")
    assert "was not run with this params.yaml; run dvc repro" in refusal(copy, "HEAD")


def test_a_commit_is_registered_as_a_version_by_a_git_tag_only_if_it_is_promoted(copy):
    with (copy / "dvc.lock").open("a") as lock:
        lock.write("\n")
    assert promote(copy, "HEAD", "version=v1.0.0").returncode == 1
    assert shell("git", "tag", cwd=copy) == ""
    shell("git", "checkout", "dvc.lock", cwd=copy)
    done = promote(copy, "HEAD", "version=v1.0.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("mask-classifier@v1.0.0: registered in Git; to share it: git push")
    head = shell("git", "rev-parse", "HEAD", cwd=copy)
    assert shell("git", "rev-parse", "mask-classifier@v1.0.0^{commit}", cwd=copy) == head
    for version, reason in (
        ("v1.0.0", "promoted, but not registered as v1.0.0: "),
        ("one", "one is not a version such"),
    ):
        again = promote(copy, "HEAD", f"version={version}")
        assert again.returncode == 1
        [line] = again.stderr.splitlines()
        assert reason in line
    assert shell("git", "tag", cwd=copy).split() == ["mask-classifier@v1.0.0"]


def registered(client: MlflowClient, scores: pd.DataFrame, split: str) -> str:
    """A further version in the registry, whose run has these scores."""
    experiment = client.get_experiment_by_name("facemask").experiment_id
    run = client.create_run(experiment, tags={tracking.SPLIT_TAG: split})
    client.log_text(run.info.run_id, scores.to_csv(index=False), "scores.csv")
    return str(client.create_model_version("facemask", "models:/facemask/1", run.info.run_id).version)


@pytest.mark.slow
def test_a_champion_stays_unless_the_other_is_not_worse_on_the_same_test_split_or_it_is_named(copy, client):
    scores = read_csv(copy / dvc.SCORES)
    split = dvc.output((copy / "dvc.lock").read_text(), dvc.MANIFEST)
    accuracy = scores.query("test_set == 'test' and score == 'accuracy'").value.item()
    perfect = scores.assign(value=1.0, low=1.0, high=1.0)
    unknown = client.create_model_version("facemask", "models:/facemask/1", "0" * 32)
    for other, reason in (
        (registered(client, perfect, split), f"accuracy fell from 1.0000 to {accuracy:.4f}, below the 95 %"),
        (registered(client, scores, "0" * 32), "the manifests differ, so the scores"),
        (str(unknown.version), "its run in MLflow has no scores"),
    ):
        client.set_registered_model_alias("facemask", "champion", other)
        message = refusal(copy, "HEAD")
        assert message.startswith(f"promote: the champion, version {other}, stays: ")
        assert reason in message
        assert message.endswith(f"make promote EXP=HEAD INSTEAD_OF={other}")
        assert promote(copy, "HEAD", "instead_of=1").returncode == 1
        assert champion(client) == other
        assert promote(copy, "HEAD", f"instead_of={other}").returncode == 0
        assert champion(client) == "1"
    client.set_registered_model_alias("facemask", "champion", registered(client, scores, split))
    assert promote(copy, "HEAD").returncode == 0


@pytest.mark.slow
def test_every_combination_of_model_and_rule_has_its_own_run(copy, client, monkeypatch):
    """Another decision rule with the same model, another export, and both: runs are not mixed."""
    monkeypatch.chdir(copy)
    shell("dvc", "exp", "run", "--name", "ruled", "--set-param", "decision.recall=0.5", cwd=copy)
    shell("git", "checkout", "--quiet", ".", cwd=copy)
    shell("dvc", "checkout", cwd=copy)
    shell("dvc", "exp", "run", "--temp", "--name", "calibrated", "--set-param", "export.calibration_images=9", cwd=copy)
    shell("dvc", "exp", "run", "--queue", "--name", "both", "--set-param", "export.calibration_images=9",
          "--set-param", "decision.recall=0.5", cwd=copy)  # fmt: skip
    shell("dvc", "exp", "run", "--run-all", cwd=copy)
    expected = {"HEAD": ("None", "8"), "ruled": ("0.5", "8"), "calibrated": ("None", "9"), "both": ("0.5", "9")}

    def changed(revision: str) -> tuple[str, str]:
        with store() as experiment:
            lock = dvc.at(dvc.commit_of(revision), "dvc.lock")
            run = tracking.run_of(dvc.output(lock, dvc.RECORD), experiment)
        assert run.data.tags.get("dvc.exp_name", "HEAD") == revision
        for name in ("test.json", "export.json", "scores.csv"):
            text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/{name}").strip()
            assert text == dvc.at(dvc.commit_of(revision), f"metrics/{name}"), (revision, name)
        return run.data.params["decision.recall"], run.data.params["export.calibration_images"]

    assert {revision: changed(revision) for revision in expected} == expected
    for revision in ("calibrated", "both"):
        assert promote(copy, revision).returncode == 0
        run = client.get_run(client.get_model_version_by_alias("facemask", "champion").run_id)
        assert run.info.run_name == revision

    shell("dvc", "exp", "apply", "both", cwd=copy)
    for name in ("models/trained.npz", "metrics/record.json"):
        (copy / name).unlink()
    assert ran(shell("dvc", "repro", cwd=copy)) == []
    commit(copy, "restored from the cache")
    assert len(client.search_runs([run.info.experiment_id])) == 4
    assert promote(copy, "HEAD").returncode == 0


@pytest.mark.parametrize("command", ["promote", "view"])
def test_a_server_that_is_down_is_one_line_without_its_password(command, copy):
    secret = "s3cr3tw0rd"
    environment = {"MLFLOW_TRACKING_URI": f"http://user:a/{secret}@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    args = ["revision=HEAD"] if command == "promote" else []
    done = programs.run(f"facemask.experiments.{command}", *args, folder=copy, **environment)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"{command}: MLflow at http://***@127.0.0.1:9: ")
    assert secret not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_served_champion_answers_with_predictions(copy, client):
    """JSON over HTTP."""
    assert promote(copy, "HEAD").returncode == 0
    port = free_port()
    command = ["mlflow", "models", "serve", "--model-uri", "models:/facemask@champion", "--env-manager", "local",
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{copy}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    photos = shards.array(copy / "data/shards", "test")[:2]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready() -> bool:
        assert server.poll() is None
        return answers(f"http://127.0.0.1:{port}/ping")

    try:
        wait_until(ready, "the model server answers")
        answer = requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": photos.tolist()}, timeout=60)
        wrong = requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": [[1, 2]]}, timeout=60)
    finally:
        server.terminate()
        server.wait()
    answer.raise_for_status()
    expected = litert.Runner((copy / "models/classifier.tflite").read_bytes())(photos)
    predictions = pd.DataFrame(answer.json()["predictions"])
    assert list(predictions) == ["label", "p_incorrect_mask", "p_with_mask", "p_without_mask"]
    np.testing.assert_allclose(predictions.drop(columns="label"), expected, atol=1e-5)
    assert wrong.status_code == 400


@pytest.mark.slow
def test_the_logged_model_has_a_signature(copy, client):
    [pixels] = mlflow.models.get_model_info("models:/facemask/1").signature.inputs
    assert (pixels.type, pixels.shape) == (np.uint8, (-1, 32, 32, 3))
    assert mlflow.models.get_model_info("models:/facemask/1").signature.outputs.input_names()[0] == "label"
