"""make keras: the classifier as one Keras model gives the probabilities of the exported one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import HEAD_ONLY, ROOT, write_params
from test_reproducible import run

from facemask.data import shards
from facemask.engines import litert

ARGUMENTS = ("backbone=models/backbone", "weights=models/trained.npz", "labels=models/labels.txt", "model=whole.keras")


def assembled(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "facemask.experiments.keras_model", *ARGUMENTS]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("train_from", ["head", "block_16_expand", "input"])
def test_the_keras_model_gives_the_probabilities_of_the_exported_one(train_from, copy):
    import keras

    write_params(copy, **HEAD_ONLY | {"train_from": train_from, "head.units": [6], "head.dropout": [0.1]})
    run("features", copy)
    run("train", copy)
    done = assembled(copy)
    assert done.returncode == 0, done.stderr
    pixels = shards.array(copy / "data/shards", "test")
    expected = litert.Runner((copy / "models/classifier.tflite").read_bytes())(pixels)
    answer = keras.saving.load_model(copy / "whole.keras").predict(np.asarray(pixels), verbose=0)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_weights_of_other_parameters_are_one_line(copy):
    write_params(copy, **HEAD_ONLY | {"head.units": [6], "head.dropout": [0.1]})
    done = assembled(copy)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("keras_model: models/trained.npz does not fit params.yaml (")
    assert not (copy / "whole.keras").exists()
