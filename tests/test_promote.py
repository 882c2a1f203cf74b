"""The champion: it moves to a model that holds, and one line says why it does not."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from conftest import ROOT, commit, free_port, shell
from mlflow.tracking import MlflowClient

from facemask.data import shards

pytestmark = pytest.mark.slow


def promote(folder: Path, name: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "facemask.experiments.promote", name],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def refusal(folder: Path, name: str) -> str:
    """The one line with which a promotion is refused."""
    done = promote(folder, name)
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


def test_the_champion_moves_to_an_experiment_and_back(copy, client):
    shell("dvc", "exp", "run", "--temp", "--name", "slower", "--set-param", "lr=1e-4", cwd=copy)
    scores = {name: client.get_run(client.get_model_version("facemask", version).run_id).data.metrics["test.accuracy"]
              for name, version in (("HEAD", "1"), ("slower", "2"))}  # fmt: skip
    worse, better = sorted(scores, key=scores.get)
    assert promote(copy, worse).returncode == 0
    moved = promote(copy, better)
    assert moved.returncode == 0
    assert f"of {better}, test accuracy {scores[better]:.4f} (before: version" in moved.stdout
    assert champion(client) == {"HEAD": "1", "slower": "2"}[better]


def test_a_model_that_does_not_hold_is_refused_in_one_line(copy, client):
    assert "there is no experiment or revision nothing; dvc exp list" in refusal(copy, "nothing")
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

    [run] = mlflow.search_runs(experiment_names=["facemask"], output_format="list")
    better = client.create_run(run.info.experiment_id)
    tags = {"test.accuracy": "1.01"}
    version = client.create_model_version("facemask", "models:/facemask/1", better.info.run_id, tags)
    client.set_registered_model_alias("facemask", "champion", version.version)
    assert "is more than 0.005 below the champion's (version 2, 1.0100)" in refusal(copy, "HEAD")
    assert champion(client) == str(version.version)

    client.set_tag(run.info.run_id, "model_sha256", "0" * 64)
    assert "HEAD: no run in MLflow made the model that its dvc.lock holds" in refusal(copy, "HEAD")
    shutil.rmtree(copy / ".dvc/cache")
    (copy / "models/model.keras").unlink()
    assert "HEAD: models/model.keras is not at hand" in refusal(copy, "HEAD")


def test_a_served_champion_answers_a_photo(copy, client):
    """As a phone's backend would ask: JSON over HTTP."""
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
    try:
        for _ in range(120):
            try:
                requests.get(f"http://127.0.0.1:{port}/ping", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                assert server.poll() is None
                time.sleep(1)
        answer = requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": photos.tolist()}, timeout=60)
        wrong = requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": [[1, 2]]}, timeout=60)
    finally:
        server.terminate()
        server.wait()
    answer.raise_for_status()
    import keras

    expected = keras.saving.load_model(copy / "models/model.keras").predict_on_batch(photos)
    np.testing.assert_allclose(answer.json()["predictions"], expected, atol=1e-5)
    assert wrong.status_code == 400


def test_the_logged_model_says_what_it_takes(copy, client):
    [pixels] = mlflow.models.get_model_info("models:/facemask/1").signature.inputs
    assert (pixels.type, pixels.shape) == (np.uint8, (-1, 32, 32, 3))
    example = mlflow.pyfunc.load_model("models:/facemask/1").input_example
    assert np.asarray(example).shape == (1, 32, 32, 3)
