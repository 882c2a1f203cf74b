"""Choose the columns of MLflow's pages, and print their addresses: python -m facemask.experiments.view.

The page of the runs shows the dataset, the parameters in which the newest runs differ, and the headline metrics. The
columns are stored as MLflow stores a shared view: in a tag of the experiment, which the link names.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.experiments.mlflow_store import store

if TYPE_CHECKING:
    import mlflow

VIEW = "facemask"
LOCAL = "http://127.0.0.1:5000"
NEWEST = 10
COLUMNS = 8
LETTER, DATASET = 9, 200  # pixels
FIRST = ("accuracy", "balanced_accuracy", "int8_accuracy", "int8_mb")


def changed(runs: "Sequence[mlflow.entities.Run]") -> list[str]:
    """The parameters in which runs differ, those at the top level first."""
    names = {name for run in runs for name in run.data.params}
    differ = [name for name in names if len({run.data.params.get(name) for run in runs}) > 1]
    return sorted(differ, key=lambda name: (name.count("."), name))[:COLUMNS]


def headlines(runs: "Sequence[mlflow.entities.Run]") -> list[str]:
    """The metrics without a dot in their names, the test split's and the exported model's first."""
    names = {name for run in runs for name in run.data.metrics if "." not in name}
    return [name for name in FIRST if name in names] + sorted(names - set(FIRST))


def columns(runs: "Sequence[mlflow.entities.Run]") -> list[str]:
    """The columns of the runs' page, as MLflow calls them."""
    names = [("attributes", "Dataset"), *(("params", name) for name in changed(runs))]
    names += [("metrics", name) for name in headlines(runs)]
    return [f"{kind}.`{name}`" for kind, name in names]


def choose(base: str = LOCAL, searched: str = "") -> dict[str, str]:
    """Choose the columns for the newest runs, and return the addresses of the pages.

    Parameters
    ----------
    base : str
        The address of MLflow's pages, unless there is a tracking server.
    searched : str
        A filter of MLflow for the runs, such as tags.study = 'study@1a2b3c4'; by default all.

    Returns
    -------
    dict
        The page of the `runs`, and the page that compares the newest (`compared`).

    Raises
    ------
    UserError
        If there are no such runs.
    """
    with store() as experiment:
        import mlflow

        runs = mlflow.search_runs([experiment], searched, max_results=NEWEST, output_format="list")
        if not runs:
            raise UserError("MLflow has no such runs yet; dvc repro makes the first")
        shown = columns(runs)
        widths = {column: max(80, LETTER * len(column.split("`")[1])) for column in shown} | {shown[0]: DATASET}
        state = {"selectedColumns": shown, "columnOrder": shown, "columnWidths": widths, "searchFilter": searched}
        mlflow.MlflowClient().set_experiment_tag(experiment, f"mlflow.sharedViewState.{VIEW}", json.dumps(state))
        uri = mlflow.get_tracking_uri()
    pages = uri.rstrip("/") if uri.startswith("http") else base
    ids, experiments = quote(json.dumps([run.info.run_id for run in runs])), quote(json.dumps([experiment]))
    return {
        "runs": f"{pages}/#/experiments/{experiment}/runs?viewStateShareKey={VIEW}",
        "compared": f"{pages}/#/compare-runs?runs={ids}&experiments={experiments}",
    }


def main() -> None:
    for name, address in choose().items():
        print(f"{name + ':':9} {address}")


if __name__ == "__main__":
    cli.run(main)
