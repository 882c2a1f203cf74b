"""Training in several processes: writes the job, starts its workers, and waits for the trained weights."""

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from facemask.core import arrays, parts
from facemask.core.errors import UserError
from facemask.core.files import remove, save_model, write_text
from facemask.core.params import Count, Section
from facemask.networks import fine_tuning
from facemask.networks.distributed import worker
from facemask.networks.training import COLUMNS, Photos, Report, Training, class_weights

if TYPE_CHECKING:
    import keras

INTERVAL = 0.1  # seconds
ROWS = 1024  # hashed at a time


class Replicas(Section):
    """What trains the layers of a network, and how many processes share each batch."""

    engine: Literal["tensorflow", "jax"]
    replicas: Count

    @model_validator(mode="after")
    def engine_has_replicas(self) -> "Replicas":
        if self.replicas > 1 and self.engine != "jax":
            raise ValueError(f"replicas: {self.replicas} needs engine: jax; {self.engine} trains in one process")
        return self


def fit(
    model: "keras.Model",
    train: Photos,
    validation: Photos,
    training: Training,
    replicas: int,
    threads: int,
    folder: Path,
    report: Report | None = None,
) -> pd.DataFrame:
    """Train a model in place by Keras on JAX, with early stopping, and restore the weights of the best epoch.

    If a worker dies, `folder` keeps what the last whole epoch left, and the next call with the same model, photos,
    parameters and replicas goes on from there.

    Parameters
    ----------
    train, validation : Photos
        Inputs are memory maps: a worker reads its own rows.
    replicas : int
        Processes. They run on this machine, or one of them does and JAX_COORDINATOR_ADDRESS tells where the first is.
    threads : int
        Of all processes on this machine together.
    folder : Path
        Of the job, beside the outputs; removed at the end.

    Returns
    -------
    DataFrame
        A row an epoch, with `COLUMNS`.

    Raises
    ------
    UserError
        If JAX is not installed, the environment names another number of processes, or a worker ends early.
    """
    if importlib.util.find_spec("jax") is None:
        raise UserError("training.engine: jax is not installed; pip install '.[jax]'")
    environments = environments_of(replicas, threads)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / worker.MODEL)
    of_train, of_validation = (class_weights(labels, training.class_weights) for _, labels in (train, validation))
    np.savez(
        folder / worker.LABELS,
        train=train[1], train_weights=of_train, validation=validation[1], validation_weights=of_validation,
    )  # fmt: skip
    chosen = training.model_dump(include=set(Training.model_fields))
    key = hashlib.sha256(json.dumps([chosen, replicas, parts.code([worker], ["jax", "keras"])]).encode())
    key.update((folder / worker.MODEL).read_bytes())
    for array in (*train, *validation):
        for start in range(0, len(array), ROWS):
            key.update(array[start : start + ROWS].tobytes())
    inputs = {"train": arrays.files_of(train[0]), "validation": arrays.files_of(validation[0])}
    write_text(folder / worker.JOB, json.dumps({"training": chosen, "inputs": inputs, "key": key.hexdigest()}))
    run(folder, environments, report)
    with np.load(folder / worker.TRAINED) as trained:
        fine_tuning.give_weights(model, [trained[f"weight{number}"] for number in range(len(model.weights))])
        history = table(trained["history"])
    remove(folder)
    return history


def table(history: np.ndarray) -> pd.DataFrame:
    """A row an epoch, with `COLUMNS`, from a worker's history."""
    return pd.DataFrame(history, columns=COLUMNS[1:]).assign(epoch=range(1, len(history) + 1))[COLUMNS]


def environments_of(replicas: int, threads: int) -> list[dict[str, str]]:
    """The variables of each process that this machine starts."""
    common = {"KERAS_BACKEND": "jax", "NPROC": str(threads)}
    if "JAX_COORDINATOR_ADDRESS" in os.environ:
        started = os.environ.get("JAX_NUM_PROCESSES")
        if started != str(replicas):
            raise UserError(
                f"JAX_NUM_PROCESSES is {started}, training.replicas {replicas}; set both to the same number"
            )
        return [common]
    if replicas == 1:
        return [common]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    common |= {
        "JAX_PLATFORMS": "cpu",  # with GPUs, one process uses all of them
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_COORDINATOR_BIND_ADDRESS": address,  # otherwise it listens on every interface
        "JAX_NUM_PROCESSES": str(replicas),
        "NPROC": str(max(1, threads // replicas)),
        "no_proxy": "127.0.0.1",
    }
    return [common | {"JAX_PROCESS_ID": str(number)} for number in range(replicas)]


def run(folder: Path, environments: list[dict[str, str]], report: Report | None = None) -> None:
    """Run a worker with each environment until all have ended, and report the epochs meanwhile.

    Raises
    ------
    UserError
        If one fails or is killed; the others are then killed too.
    """
    history, reported = folder / worker.HISTORY, 0
    remove(history)
    with contextlib.ExitStack() as stack:
        workers = []
        for rank, environment in enumerate(environments):
            log = stack.enter_context((folder / f"worker{rank}.log").open("wb"))
            command = [sys.executable, "-m", worker.__name__, f"job={folder}", f"rank={rank}"]
            variables = os.environ | environment
            one = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stderr=log)
            workers.append(stack.enter_context(one))
            stack.callback(one.kill)
        while None in (codes := [one.poll() for one in workers]) and not any(codes):
            time.sleep(INTERVAL)
            if report and history.exists() and len(rows := np.load(history)) > reported:
                reported = len(rows)
                report(table(rows))
    if failed := [(code, rank) for rank, code in enumerate(codes) if code]:
        code, rank = min(failed)  # a signal rather than what it led to elsewhere
        said = [
            line for line in (folder / f"worker{rank}.log").read_text(errors="replace").split("\n") if line.strip()
        ] or ["no message"]
        reason = signal.Signals(-code).name if code < 0 else said[-1]
        raise UserError(
            f"training stopped: worker {rank + 1} of {len(codes)} ended with {reason}; dvc repro goes on after the "
            f"last whole epoch; log: {folder / f'worker{rank}.log'}"
        )
