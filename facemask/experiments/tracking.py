"""MLflow: one run for each trained model, added to by every stage that learns something about it.

The run is found again by the sha256 of the model file, so no output of the pipeline holds a run
id, and a model restored from DVC's cache still finds the run that made it.
"""

import contextlib
import hashlib
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock

from facemask.core.repository import root

if TYPE_CHECKING:
    import keras
    import mlflow

EXPERIMENT = "facemask"
REGISTERED_MODEL = "facemask"
MODEL_TAG = "model_sha256"
LOCK_SECONDS = 300
AXES = ("model", "train_from")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} to {"a.b": 1}, in letters that MLflow takes: names that become the same get a _ more."""
    flat, taken = {}, set()
    for key, value in tree.items():
        name = re.sub(r"[^\w.: -]", "_", key)
        while name in taken:
            name += "_"
        taken.add(name)
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The leaves of a metrics file that are numbers, by dotted name."""
    return {key: float(value) for key, value in flatten(metrics).items() if isinstance(value, int | float)}


@contextlib.contextmanager
def store() -> Iterator[str]:
    """Point MLflow at its store and give the experiment's id.

    The default store is a database at the root of the user's checkout, also when DVC runs the
    stage in a temporary copy. It is locked: two first uses at once would both create its tables.
    """
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        mlflow.set_tracking_uri(uri)
        yield mlflow.set_experiment(EXPERIMENT).experiment_id
        return
    with FileLock(root() / "mlflow.db.lock", timeout=LOCK_SECONDS):
        database = str(root() / "mlflow.db")
        # In the URI of a database a ? begins its options and MLflow takes %20 for a space; neither can be escaped.
        mlflow.set_tracking_uri(f"sqlite:///{os.path.relpath(database) if {'%', '?'} & {*database} else database}")
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        if experiment:
            yield experiment.experiment_id
        else:
            yield mlflow.create_experiment(EXPERIMENT, artifact_location=(root() / "mlartifacts").as_uri())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's hints, the database migration's log and Keras' bar on the example out of the pipeline's output."""
    import logging

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def run(model: Path, stage: str, new: bool = False) -> "Iterator[mlflow.ActiveRun]":
    """The MLflow run of a model file: the newest with its hash, or a new one."""
    import mlflow

    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    with quiet(), store() as experiment:
        found = [] if new else mlflow.search_runs([experiment], f"tags.{MODEL_TAG} = '{digest}'", output_format="list")
        tags = {MODEL_TAG: digest, f"stage.{stage}": "done"}
        tags |= {
            tag: os.environ[variable]
            for tag, variable in (("dvc.exp_name", "DVC_EXP_NAME"), ("dvc.baseline", "DVC_EXP_BASELINE_REV"))
            if variable in os.environ
        }
        known = found[0].info.run_id if found else None
        name = os.environ.get("DVC_EXP_NAME", f"model-{digest[:7]}")
        with mlflow.start_run(known, experiment, run_name=None if known else name) as active:
            mlflow.set_tags(tags)
            yield active


@contextlib.contextmanager
def never_fatal() -> Iterator[None]:
    """What goes wrong with tracking is said at the end of the stage; its outputs are already written."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        again = "the outputs are whole; to record them, once it is well: dvc repro --force --downstream train"
        print(f"warning: not recorded in MLflow ({type(error).__name__}: {reason}); {again}", file=sys.stderr)


def record_training(
    path: Path,
    model: "keras.Model",
    params: Mapping[str, Any],
    history: pd.DataFrame,
    labels: list[str],
    seconds: float,
    files: Sequence[Path],
) -> None:
    """Open a trained model's run: parameters, the curves, the model with its signature."""
    with never_fatal(), run(path, "train", new=True):
        import mlflow
        import numpy as np
        from mlflow.models import infer_signature
        from mlflow.tracking import MlflowClient

        settings = flatten(params)
        mlflow.set_tags({"dataset": ", ".join(params["datasets"]), **{axis: settings[axis] for axis in AXES}})
        mlflow.log_params(settings)
        for line in history.to_dict("records"):
            step = int(line.pop("epoch"))
            mlflow.log_metrics(line, step=step)
        mlflow.log_metrics({"train.seconds": seconds, "train.parameters": model.count_params()})
        for file in files:
            mlflow.log_artifact(str(file))
        example = np.zeros((1, *model.input_shape[1:]), np.uint8)
        probabilities = np.full((1, len(labels)), 1 / len(labels), np.float32)
        logged = mlflow.tensorflow.log_model(
            model,
            name="model",
            signature=infer_signature(example, probabilities),
            input_example=example,
            pip_requirements=["tensorflow", "numpy"],
            metadata={"labels": labels},
        )
        client = MlflowClient()
        with contextlib.suppress(mlflow.MlflowException):
            client.create_registered_model(REGISTERED_MODEL)
        client.create_model_version(
            REGISTERED_MODEL, logged.model_uri, mlflow.active_run().info.run_id, model_id=logged.model_id
        )


def record(path: Path, stage: str, metrics: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Add a stage's metrics, by dotted name, and its files to the run of a model file."""
    with never_fatal(), run(path, stage):
        import mlflow

        mlflow.log_metrics(numbers(metrics))
        for file in files:
            if file.is_dir():
                mlflow.log_artifacts(str(file), file.name)
            else:
                mlflow.log_artifact(str(file))
