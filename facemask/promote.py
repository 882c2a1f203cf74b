"""Make the model of an experiment the champion: python -m facemask.promote EXPERIMENT.

`champion` is the alias in MLflow's registry that whoever serves the model follows. It moves only here, and only to a
model that was exported within its limits, is no worse on the test split than the present champion, and that a
committed dvc.lock can make again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from facemask import cli, tracking
from facemask.errors import UserError
from facemask.experiments import ALLOWED_LOSS, commit_of, git, run_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"


def check_export(metrics: dict[str, float], allowed: float) -> None:
    """Refuse a model that was not exported, or lost too much by it.

    Raises
    ------
    UserError
        Saying which.
    """
    drops = {name: value for name, value in metrics.items() if name.endswith(".accuracy_drop")}
    if not drops or "test.accuracy" not in metrics:
        raise UserError("the model has not passed evaluate and export; run: dvc repro")
    worst = max(drops, key=drops.get)
    if drops[worst] > allowed:
        raise UserError(f"{worst} is {drops[worst]:.4f}; export.max_accuracy_drop allows {allowed:g}")


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
    except mlflow.MlflowException:
        return None


def main(experiment: Path) -> None:
    from mlflow.tracking import MlflowClient

    revision = str(experiment)
    check_committed(revision)
    run = run_of(revision)
    check_export(run.data.metrics, float(run.data.params["export.max_accuracy_drop"]))
    accuracy = run.data.metrics["test.accuracy"]
    with tracking.quiet(), tracking.store():
        client = MlflowClient()
        versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        if not versions:
            raise UserError(
                f"{revision}: MLflow's run {run.info.run_name} registered no model; run: dvc repro -f train"
            )
        present, words = champion(), "the first"
        if present:
            best = client.get_run(present.run_id).data.metrics["test.accuracy"]
            words = f"before: version {present.version}, {best:.4f}"
            if accuracy < best - ALLOWED_LOSS:
                raise UserError(
                    f"test accuracy {accuracy:.4f} is more than {ALLOWED_LOSS} below the champion's ({words})"
                )
        client.set_registered_model_alias(tracking.REGISTERED_MODEL, CHAMPION, versions[0].version)
    print(f"{CHAMPION}: version {versions[0].version} of {revision}, test accuracy {accuracy:.4f} ({words})")


if __name__ == "__main__":
    cli.run(main)
