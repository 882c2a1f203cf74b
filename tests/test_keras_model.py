"""make keras: the classifier as one Keras model gives the probabilities of the exported one."""

import subprocess
from pathlib import Path

import numpy as np
import programs
import pytest
from conftest import HEAD_ONLY, write_params
from test_reproducible import run

from facemask.data import shards
from facemask.engines import litert

ARGUMENTS = ("backbone=models/backbone", "weights=models/trained.npz", "labels=models/labels.txt", "model=whole.keras")


def assembled(folder: Path) -> subprocess.CompletedProcess:
    return programs.run("facemask.experiments.keras_model", *ARGUMENTS, folder=folder)


def assert_equals_the_exported_one(folder: Path) -> None:
    import keras

    done = assembled(folder)
    assert done.returncode == 0, done.stderr
    pixels = shards.array(folder / "data/shards", "test")
    expected = litert.Runner((folder / "models/classifier.tflite").read_bytes())(pixels)
    answer = keras.saving.load_model(folder / "whole.keras").predict(np.asarray(pixels), verbose=0)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_the_keras_model_gives_the_probabilities_of_the_exported_one(copy):
    assert_equals_the_exported_one(copy)


@pytest.mark.slow
@pytest.mark.parametrize("train_from", ["head", "block_16_expand", "input"])
def test_so_does_one_of_which_more_is_trained_or_with_other_layers(train_from, copy):
    write_params(copy, **HEAD_ONLY | {"train_from": train_from, "head.units": [6], "head.dropout": [0.1]})
    run("features", copy)
    run("train", copy)
    assert_equals_the_exported_one(copy)


def test_weights_of_other_parameters_are_one_line(copy):
    write_params(copy, **HEAD_ONLY | {"head.units": [6], "head.dropout": [0.1]})
    done = assembled(copy)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("keras_model: models/trained.npz does not fit params.yaml (")
    assert not (copy / "whole.keras").exists()
