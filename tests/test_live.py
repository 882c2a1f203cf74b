"""The epochs of a training are seen while it runs, by DVC's plots and in MLflow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from conftest import ROOT, shell, wait_until

from facemask.core.tables import read_csv, write_csv
from facemask.experiments.live import follow
from facemask.experiments.mlflow_store import LIVE, store

EPOCHS = {"epochs": 10**6, "patience": 10**6, "lr": 1e-9}  # of a training without an end


@pytest.fixture
def training(copy) -> Iterator[Path]:
    """A repository in which `dvc repro` is in the middle of a training."""
    parameters = copy / "params.yaml"
    parameters.write_text(yaml.safe_dump(yaml.safe_load(parameters.read_text()) | EPOCHS, sort_keys=False))
    with (copy.parent / "repro.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"], cwd=copy, env=os.environ | {"DVC_NO_ANALYTICS": "1"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    yield copy
    assert process.poll() is None, (copy.parent / "repro.log").read_text()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def epochs_of(folder: Path) -> int:
    file = folder / "metrics/history.csv"
    return len(read_csv(file)) if file.exists() else 0


def plotted(folder: Path) -> list[int]:
    """The epochs in the chart of the loss that DVC draws now."""
    [chart] = json.loads(shell("dvc", "plots", "show", "--json", "Loss", cwd=folder))["data"]["Loss"]
    return sorted({int(point["epoch"]) for point in chart["content"]["data"]["values"]})


def live_run(folder: Path) -> mlflow.entities.Run | None:
    """MLflow's run of the training that is followed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with store(LIVE) as experiment:
            return next(iter(mlflow.search_runs([experiment], output_format="list")), None)


def live_curve(folder: Path) -> list[float]:
    """The validation losses that MLflow shows of it, in the order of the epochs."""
    run = live_run(folder)
    curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "epoch.val_loss") if run else []
    return [metric.value for metric in sorted(curve, key=lambda metric: metric.step)]


def test_a_training_that_has_ended_is_not_followed_and_of_one_under_way_all_epochs_are(monkeypatch):
    file = Path("history.csv")
    monkeypatch.setattr("facemask.experiments.live.INTERVAL", 0.01)

    def written(*losses: float) -> pd.DataFrame:
        table = pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses})
        write_csv(file, table)
        return table

    written(0.5, 0.4)
    with ThreadPoolExecutor(1) as pool:
        found = follow(file)
        first = pool.submit(next, found)
        time.sleep(0.3)
        assert not first.done()
        grown = written(0.5, 0.4, 0.3)
        epochs, another = first.result(10)
        assert (epochs.loss.tolist(), another) == (grown.loss.tolist(), True)
        file.unlink()
        written(0.9)
        epochs, another = next(found)
        assert (epochs.loss.tolist(), another) == ([0.9], True)
        written(0.9, 0.8)
        epochs, another = next(found)
        assert (epochs.loss.tolist(), another) == ([0.8], False)


def test_an_epoch_is_seen_as_soon_as_it_has_ended(training):
    follower = subprocess.Popen(
        [sys.executable, "-m", "facemask.experiments.live", "history=metrics/history.csv", "parameters=params.yaml"],
        cwd=training, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: epochs_of(training) > 2, "epochs in the history")
        first = plotted(training)
        assert first == list(range(1, len(first) + 1))
        wait_until(lambda: len(plotted(training)) > len(first), "more epochs in DVC's plots")
        wait_until(lambda: len(live_curve(training)) > len(first), "the epochs in MLflow")
        found = live_curve(training)
        assert found == pytest.approx(read_csv(training / "metrics/history.csv").val_loss[: len(found)])
    finally:
        follower.send_signal(signal.SIGINT)
        said = follower.communicate(timeout=60)[0]
    assert follower.returncode == 0
    assert said.startswith("following metrics/history.csv; Ctrl-C ends it")
    assert live_run(training).info.status == "FINISHED"
    assert live_run(training).data.params["lr"] == "1e-09"
