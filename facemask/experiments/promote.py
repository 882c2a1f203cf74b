"""Make the model of an experiment the champion: python -m facemask.experiments.promote revision=EXPERIMENT.

`champion` is the alias in MLflow's registry by which a model is served. It is set only here, and only to a model that
was exported within its limits, is not worse than the current champion on the same test split, and can be reproduced
from a committed dvc.lock. With instead_of=VERSION, that of the current champion, scores are not compared. With
version=v1.0.0, the promoted commit is registered as that version of the artifact in dvc.yaml, by a Git tag.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.evaluation import gate
from facemask.experiments import tracking
from facemask.experiments.dvc import MANIFEST, RECORD, SCORES, at, check_whole, commit_of, git, output
from facemask.experiments.mlflow_store import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
ARTIFACT = "mask-classifier"  # in dvc.yaml
NO_CHAMPION = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second from a database store


def check_committed(revision: str) -> None:
    """Refuse the checked-out commit if dvc.lock in the workspace differs: which model is meant is ambiguous.

    Raises
    ------
    UserError
        If `dvc.lock` has changes that are not committed.
    """
    if commit_of(revision) == commit_of("HEAD") and git("status", "--porcelain", "dvc.lock"):
        raise UserError(f"dvc.lock differs from {revision}; commit it first, or name an experiment")


def champion(client: "MlflowClient") -> "ModelVersion | None":
    """The current champion, if there is one."""
    import mlflow

    try:
        return client.get_model_version_by_alias(tracking.REGISTERED_MODEL, CHAMPION)
    except mlflow.MlflowException as error:
        if error.error_code in NO_CHAMPION:
            return None
        raise


def evaluated(version: "ModelVersion") -> gate.Evaluated:
    """The scores of a registered model, as its run recorded them.

    Raises
    ------
    UserError
        If its run has none.
    """
    import mlflow

    try:
        split = mlflow.get_run(version.run_id).data.tags[tracking.SPLIT_TAG]
        scores = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{Path(SCORES).name}")
        return gate.evaluated(split, scores)
    except (mlflow.MlflowException, KeyError):
        raise UserError("its run in MLflow has no scores") from None


def check_better(now: gate.Evaluated, present: "ModelVersion", revision: str) -> None:
    """Refuse a model that is worse than the champion, or cannot be compared with it.

    Raises
    ------
    UserError
        With the reason, and how to replace the champion anyway.
    """
    try:
        fallen = gate.worse(now, evaluated(present))
    except UserError as error:
        fallen = [str(error)]
    if fallen:
        raise UserError(
            f"the champion, version {present.version}, stays: {'; '.join(fallen)}; to replace it anyway: "
            f"make promote EXP={revision} INSTEAD_OF={present.version}"
        )


def check_version(version: str) -> None:
    """Refuse what is no version, before anything is changed.

    Raises
    ------
    UserError
        With the form that a version has.
    """
    from gto.exceptions import InvalidVersion
    from gto.versions import SemVer

    try:
        SemVer(version)
    except InvalidVersion:
        raise UserError(f"VERSION: {version} is not a version such as v1.0.0") from None


def register(commit: str, version: str) -> str:
    """Register a commit as a version of the artifact, by GTO; return the Git tag, which is not pushed.

    Raises
    ------
    UserError
        If GTO refuses it, for example because the version is taken.
    """
    from gto import api
    from gto.exceptions import GTOException

    try:
        return api.register(".", ARTIFACT, commit, version).ref
    except GTOException as error:
        raise UserError(f"promoted, but not registered as {version}: {error}") from None


def main(revision: str, instead_of: str = "", version: str = "") -> None:
    from mlflow.tracking import MlflowClient

    check_committed(revision)
    if version:
        check_version(version)
    commit = commit_of(revision)
    lock, settings = at(commit, "dvc.lock"), yaml.safe_load(at(commit, "params.yaml"))
    check_whole(commit)
    variants = read_csv(io.StringIO(at(commit, "metrics/variants.csv")))
    gate.check_export(variants, "accuracy", float(settings["export"]["max_accuracy_drop"]))
    now = gate.evaluated(output(lock, MANIFEST), at(commit, SCORES))
    with store() as experiment:
        run, client = tracking.run_of(output(lock, RECORD), experiment), MlflowClient()
        versions = client.search_model_versions(f"run_id = '{run.info.run_id}'") if run else []
        if not versions:
            raise UserError(
                f"{revision}: MLflow has no run of it; with that commit checked out: "
                "dvc repro, and dvc repro --force --single-item record"
            )
        number, present = versions[0].version, champion(client)
        if present and str(present.version) not in (str(number), instead_of):
            check_better(now, present, revision)
        client.set_registered_model_alias(tracking.REGISTERED_MODEL, CHAMPION, number)
    before = f"before: version {present.version}" if present else "the first"
    print(f"{CHAMPION}: version {number} of {revision}, test accuracy {now.scores.value['accuracy']:.4f} ({before})")
    if version:
        tag = register(commit, version)
        print(f"{tag}: registered in Git; to share it: git push origin {tag}")


if __name__ == "__main__":
    cli.run(main)
