"""MLflow's store: found, opened quietly, and without credentials in any message."""

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from facemask.core.errors import UserError, redacted
from facemask.core.repository import root
from facemask.core.terminal import silenced

EXPERIMENT = "facemask"
DETECTION = "facemask-detection"  # the experiment of the second pipeline
LIVE = "facemask-live"  # of trainings while they run
LOCK_SECONDS = 300
LOGGERS = ("mlflow", "alembic")
DESCRIPTION = """One run for each execution of the pipeline; `dvc exp show` has the same experiments.

- `accuracy`, `f1`, ... are those of the test split, `balanced_accuracy_NAME` of an external test set, `int8_...` of the
  exported model.
- `epoch....` are curves; `test....`, `test_NAME....` and `tflite....` are the other scores, one by one.
- The Dataset column is the dataset and the first digits of its manifest's hash: compare runs of the same one.
- `make promote EXP=NAME` makes an experiment's model the champion.
"""
DETECTION_DESCRIPTION = """One run for each execution of the detection pipeline.

- `map50`, `right_32`, ... are those of the test scenes, `int8_map50` of the exported model.
- `epoch....` are curves; `test....`, `test_NAME....` and `tflite....` are the other scores, one by one.
"""
LIVE_DESCRIPTION = "The epochs of trainings that `make live` followed; complete runs are in the other experiments.\n"
NOTES = {EXPERIMENT: DESCRIPTION, DETECTION: DETECTION_DESCRIPTION, LIVE: LIVE_DESCRIPTION}
KIND = {"mlflow.experimentKind": "custom_model_development"}  # with it, MLflow's pages are about training, not agents


def without_credentials(uri: str) -> str:
    """A tracking URI without credentials: user and password of a server go into MLflow's environment variables.

    Those of a database stay in the URI, escaped, so that no part of them is parsed as a host.
    """
    scheme, _, rest = uri.partition("://")
    authority = rest.partition("/")[0]
    credentials, found, address = rest.rpartition("@")
    if not found or not (":" in authority or "@" in authority):
        return uri
    user, _, password = (unquote(part) for part in credentials.partition(":"))
    if scheme in ("http", "https"):
        os.environ |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        return f"{scheme}://{address}"
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{address}"


@contextlib.contextmanager
def store(name: str = EXPERIMENT) -> Iterator[str]:
    """Point MLflow at its store, keep it quiet, and give the id of the experiment of this name.

    The default store is a database at the root of the user's checkout, also when DVC runs the
    stage in a temporary copy. It is locked: two first uses at once would both create the tables.

    Raises
    ------
    UserError
        If the store cannot be reached or read.
    """
    import mlflow  # before `silenced`: its first import sets the levels of its loggers
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with silenced(*LOGGERS):
            if uri:
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
                os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
                mlflow.set_tracking_uri(without_credentials(uri))
                yield experiment_id(name, None)
                return
            with FileLock(root() / "mlflow.db.lock", timeout=LOCK_SECONDS):
                database = str(root() / "mlflow.db")
                # In a database URI, ? begins the options, and MLflow reads %20 as a space; neither can be escaped.
                odd = {"%", "?"} & {*database}
                mlflow.set_tracking_uri(f"sqlite:///{os.path.relpath(database) if odd else database}")
                yield experiment_id(name, (root() / "mlartifacts").as_uri())
    except (mlflow.MlflowException, SQLAlchemyError, CommandError, Timeout) as error:
        reason = redacted(" ".join(str(error).split()))[:300]
        raise UserError(f"MLflow at {redacted(uri or str(root() / 'mlflow.db'))}: {reason}") from error


def experiment_id(name: str, artifacts: str | None) -> str:
    """The id of an experiment of the project, created if it does not exist."""
    import mlflow

    if mlflow.get_experiment_by_name(name) is None:
        with contextlib.suppress(mlflow.MlflowException):  # another process may have created it
            mlflow.create_experiment(name, artifacts, {"mlflow.note.content": NOTES[name], **KIND})
    return mlflow.set_experiment(name).experiment_id
