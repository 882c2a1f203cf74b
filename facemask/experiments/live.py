"""Log the epochs of a training to MLflow while it runs, until Ctrl-C.

    python -m facemask.experiments.live history=metrics/history.csv parameters=params.yaml

`train` writes the history after every epoch, for DVC's plots. This program reads it: training knows nothing of MLflow.
The complete run of an execution, with its scores and its model, is the one that `record` logs at the end.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from facemask.core import cli
from facemask.core.tables import read_csv
from facemask.experiments.mlflow_store import LIVE, store
from facemask.experiments.tracking import flatten, log_epochs

INTERVAL = 1.0  # seconds


def follow(history: Path) -> Iterator[tuple[pd.DataFrame, bool]]:
    """The new epochs of a training whenever there are some, and whether it is another training than before.

    One that has ended is not followed; of one that is under way, the first are all its epochs.
    """
    seen, first = read_csv(history) if history.is_file() else pd.DataFrame(), True
    while True:
        with contextlib.suppress(FileNotFoundError):  # DVC removes it before a training
            table = read_csv(history)
            if not table.equals(seen):
                another = first or not table.head(len(seen)).equals(seen)
                yield table if another else table.iloc[len(seen) :], another
                seen, first = table, False
        time.sleep(INTERVAL)


def main(history: Path, parameters: Path) -> None:
    import mlflow

    run = None
    print(f"following {history}; Ctrl-C ends it", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        for epochs, another in follow(history):
            with store(LIVE) as experiment:
                client = mlflow.MlflowClient()
                if another:
                    if run:
                        client.set_terminated(run)
                    run = client.create_run(experiment, run_name=time.strftime("%Y-%m-%d %H:%M:%S")).info.run_id
                    mlflow.log_params(flatten(yaml.safe_load(parameters.read_text("utf-8"))), run_id=run)
                log_epochs(epochs, run)
            print(epochs.to_string(index=False, header=another), flush=True)
    if run:
        with store(LIVE):
            mlflow.MlflowClient().set_terminated(run)


if __name__ == "__main__":
    cli.run(main)
