"""Record a run with one metric in MLflow: python -m recording ACCURACY."""

import sys

import mlflow

from facemask.experiments.mlflow_store import store

if __name__ == "__main__":
    with store() as experiment, mlflow.start_run(experiment_id=experiment):
        mlflow.log_metric("accuracy", float(sys.argv[1]))
        mlflow.log_text("some text", "some.txt")
