"""Make the model of an experiment the champion: python -m facemask.experiments.promote EXPERIMENT.

`champion` is the alias in MLflow's registry that whoever serves the model follows. It moves only here, and only to a
model that was exported within its limits, is no worse on the test split than the present champion, and that a
committed dvc.lock can make again.
"""

import io
import json
from typing import TYPE_CHECKING

import pandas as pd
import yaml

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.files import read_csv
from facemask.experiments import tracking
from facemask.experiments.dvc import ALLOWED_LOSS, at, commit_of, git, run_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
SCORE = "test.accuracy"
NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second from a database


def check_export(variants: pd.DataFrame, allowed: float) -> None:
    """Refuse a model that lost too much by being exported.

    Raises
    ------
    UserError
        Naming the variant that lost most.
    """
    worst = variants.loc[variants.accuracy_drop.idxmax()]
    if worst.accuracy_drop > allowed:
        loss = f"{worst.variant} loses {worst.accuracy_drop:.4f} of test accuracy"
        raise UserError(f"{loss}; export.max_accuracy_drop allows {allowed:g}")


def check_committed(revision: str) -> None:
    """Refuse the checked-out commit while the workspace is ahead of it: its model may not be the one that is meant.

    Raises
    ------
    UserError
        If `dvc.lock` has changes that are not committed.
    """
    if commit_of(revision) == commit_of("HEAD") and git("status", "--porcelain", "dvc.lock"):
        raise UserError(f"dvc.lock differs from {revision}; commit it first, or name an experiment")


def champion() -> "ModelVersion | None":
    """The present champion, if there is one."""
    import mlflow
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient().get_model_version_by_alias(tracking.REGISTERED_MODEL, CHAMPION)
    except mlflow.MlflowException as error:
        if error.error_code in NO_CHAMPION:
            return None
        raise


def main(revision: str) -> None:
    from mlflow.tracking import MlflowClient

    check_committed(revision)
    run, commit = run_of(revision), commit_of(revision)
    settings = yaml.safe_load(at(commit, "params.yaml"))
    variants = read_csv(io.StringIO(at(commit, "metrics/variants.csv")))
    check_export(variants, settings["export"]["max_accuracy_drop"])
    accuracy = json.loads(at(commit, "metrics/test.json"))["accuracy"]
    with tracking.quiet(), tracking.store():
        client = MlflowClient()
        versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        if not versions:
            raise UserError(
                f"{revision}: MLflow's run {run.info.run_name} registered no model; run: dvc repro -f train"
            )
        present, words = champion(), "the first"
        if present:
            best = float(present.tags.get(SCORE, "nan"))  # of a champion that was named by hand, nothing is known
            words = f"before: version {present.version}, {best:.4f}"
            if accuracy < best - ALLOWED_LOSS:
                raise UserError(
                    f"test accuracy {accuracy:.4f} is more than {ALLOWED_LOSS} below the champion's "
                    f"(version {present.version}, {best:.4f})"
                )
        version = versions[0].version
        client.set_model_version_tag(tracking.REGISTERED_MODEL, version, SCORE, accuracy)
        client.set_registered_model_alias(tracking.REGISTERED_MODEL, CHAMPION, version)
    print(f"{CHAMPION}: version {version} of {revision}, test accuracy {accuracy:.4f} ({words})")


if __name__ == "__main__":
    cli.run(main)
