"""MLflow: a run for each execution of the pipeline, recorded at its end.

A run is identified by the hash of all that it reports, which is in dvc.lock too. So no output contains the id of a run,
outputs that DVC restores from its cache lead to their run, and no run mixes two executions.
"""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from facemask.core.errors import UserError, redacted
from facemask.core.tables import ROWS, read_csv
from facemask.experiments.dvc import at
from facemask.experiments.mlflow_store import EXPERIMENT, store

if TYPE_CHECKING:
    import mlflow
    from mlflow.data.dataset import Dataset

REGISTERED_MODEL = "facemask"
RECORD_TAG = "record_md5"
SPLIT_TAG = "manifest_md5"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{a: {b: 1}} to {"a.b": 1}, in characters that MLflow accepts; names that become equal get an additional _."""
    flat: dict[str, Any] = {}
    taken: set[str] = set()
    for key, value in tree.items():
        name = re.sub(r"[^\w.: -]", "_", str(key))
        while name in taken:
            name += "_"
        taken.add(name)
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


@contextlib.contextmanager
def never_fatal() -> Iterator[None]:
    """Turn an error in the block into a warning: the outputs of the stage are already written."""
    try:
        yield
    except Exception as error:
        reason = redacted(" ".join(str(error).split()))[:300]
        again = "the outputs are complete; to record them later: dvc repro --force --single-item record"
        print(f"warning: not recorded in MLflow ({type(error).__name__}: {reason}); {again}", file=sys.stderr)


def baseline(file: Path) -> str | None:
    """The content of a file in the commit that an experiment started from, or None."""
    try:
        return at(os.environ.get("DVC_EXP_BASELINE_REV", "HEAD"), f"./{file}")
    except (UserError, OSError):
        return None


def parsed(text: str | None) -> dict[str, Any]:
    """The values of a params file by dotted name; none if it is not one."""
    try:
        tree = yaml.safe_load(text or "")
    except yaml.YAMLError:
        return {}
    return flatten(tree) if isinstance(tree, Mapping) else {}


def description(parameters: Path, reached: str, card: str) -> str:
    """The description of a run in Markdown: what it reached, what it changed against the baseline, and its card."""
    now, before = parsed(parameters.read_text(encoding="utf-8")), parsed(baseline(parameters))
    changes = [
        f"- `{key}`: {before.get(key, 'not there')} → {now.get(key, 'not there')}"
        for key in {**before, **now}
        if before and before.get(key) != now.get(key)
    ]
    changed = "Changed against the baseline:\n\n" + "\n".join(changes) if changes else "The baseline's parameters."
    return f"{reached} {changed}\n\nThe model card is the artifact `{card}`.\n"


def datasets(manifest: Path) -> "list[tuple[Dataset, str]]":
    """The datasets of a manifest with their context (training or test), that of the test split first."""
    import mlflow

    table, found = read_csv(manifest), []
    for name, rows in table.groupby("dataset"):
        content = hashlib.md5(usedforsecurity=False)
        for start in range(0, len(rows), ROWS):
            content.update(rows[start : start + ROWS].to_csv(index=False, header=start == 0).encode())
        digest = content.hexdigest()[:8]
        dataset = mlflow.data.from_pandas(rows, str(manifest), targets="label", name=str(name), digest=digest)
        splits = set(rows.split)
        found.append(("test" not in splits, (dataset, "training" if "train" in splits else "test")))
    return [pair for _, pair in sorted(found, key=lambda one: one[0])]


def register(tflite: Path, size: int) -> str:
    """Log the exported model for serving without TensorFlow, and register it; return the id of the logged model."""
    import mlflow
    import numpy as np
    from mlflow.models import infer_signature
    from mlflow.tracking import MlflowClient

    classes = (tflite / "labels.txt").read_text(encoding="utf-8").splitlines()
    answer = pd.DataFrame({"label": [classes[0]], **{f"p_{label}": [1 / len(classes)] for label in classes}})
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={"tflite": str(tflite)},
        signature=infer_signature(np.zeros((1, size, size, 3), np.uint8), answer),
        pip_requirements=[f"{package}=={version(package)}" for package in ("ai-edge-litert", "numpy")],
        metadata={"labels": classes},
    )
    client = MlflowClient()
    with contextlib.suppress(mlflow.MlflowException):
        client.create_registered_model(REGISTERED_MODEL)
    client.create_model_version(
        REGISTERED_MODEL, logged.model_uri, mlflow.active_run().info.run_id, model_id=logged.model_id
    )
    return logged.model_id


def log_epochs(history: pd.DataFrame, run: str | None = None) -> None:
    """Log the scores of epochs, a step an epoch, in the active run or the one with this id."""
    import mlflow

    for epoch, scores in history.set_index("epoch").iterrows():
        mlflow.log_metrics(scores.add_prefix("epoch.").to_dict(), step=int(epoch), run_id=run)


def record(
    row: Mapping[str, Any],
    digest: str,
    description: str,
    manifest: Path,
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    tflite: Path | None,
    size: int,
    files: Sequence[Path],
    experiment: str = EXPERIMENT,
) -> None:
    """Record a run.

    Parameters
    ----------
    row : dict
        Its `parameters`, `metrics` and `tags`, by name.
    digest : str
        The hash that identifies it.
    history : DataFrame
        A row an epoch: its number, and its scores.
    predictions : DataFrame
        A row a photo of the test split.
    tflite : Path, optional
        The folder of exported classifiers, one of which is registered for serving.
    size : int
        Side of their square input, in pixels.
    files : sequence of Path
        Files and folders to log as artifacts.
    """
    with never_fatal(), store(experiment) as number:
        import mlflow

        environment = {"dvc.exp_name": "DVC_EXP_NAME", "dvc.baseline": "DVC_EXP_BASELINE_REV"}
        known = {tag: os.environ[variable] for tag, variable in environment.items() if variable in os.environ}
        name = known.get("dvc.exp_name", f"repro-{digest[:7]}")
        with mlflow.start_run(experiment_id=number, run_name=name, description=description):
            mlflow.log_params(row["parameters"])
            used = datasets(manifest)
            for dataset, context in used:
                mlflow.log_input(dataset, context)
            for file in files:
                if file.is_dir():
                    mlflow.log_artifacts(str(file), file.name)
                else:
                    mlflow.log_artifact(str(file))
            mlflow.log_table(predictions, "predictions.json")
            log_epochs(history)
            model = register(tflite, size) if tflite else None
            mlflow.log_metrics(row["metrics"], model_id=model, dataset=used[0][0])
            # Last: with this tag, the run is complete and can be found.
            mlflow.set_tags({**row["tags"], **known, RECORD_TAG: digest})


def run_of(digest: str, experiment: str) -> "mlflow.entities.Run | None":
    """The newest run with this hash; call it while the store is open."""
    import mlflow

    wanted = f"tags.{RECORD_TAG} = '{digest}'"
    found = mlflow.search_runs([experiment], wanted, max_results=1, output_format="list")
    return found[0] if found else None
