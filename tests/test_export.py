"""export: the accuracy gate, and self-contained files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import HEAD_ONLY, paths_of, shell, stage, write_params

from facemask.core.errors import UserError
from facemask.engines.variants import VARIANTS, calibration
from facemask.evaluation import gate


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_maps_raw_pixels_to_a_probability_a_class(variant, reproduced):
    folder = reproduced / "models/tflite"
    interpreter = Interpreter(str(folder / f"{variant}.tflite"))
    interpreter.allocate_tensors()
    [entry], [out] = interpreter.get_input_details(), interpreter.get_output_details()
    assert (entry["dtype"], list(entry["shape"])) == (np.uint8, [1, 32, 32, 3])
    interpreter.set_tensor(entry["index"], np.zeros((1, 32, 32, 3), np.uint8))
    interpreter.invoke()
    probabilities = interpreter.get_tensor(out["index"])
    labels = (folder / "labels.txt").read_text().split()
    assert labels == ["incorrect_mask", "with_mask", "without_mask"]
    assert probabilities.shape == (1, 3)
    assert probabilities.dtype == np.float32
    assert probabilities.sum() == pytest.approx(1, abs=0.02)


def test_the_gate_names_the_variant_that_lost_too_much():
    results = pd.DataFrame({"variant": ["float32", "int8"], "accuracy_drop": [0.0, 0.02]})
    gate.check_export(results, "accuracy", 0.02)
    gate.check_export(results.assign(accuracy_drop=0.98 - 0.96), "accuracy", 0.02)  # a little more than 0.02
    with pytest.raises(UserError, match=r"^int8 loses 0.0200 of test accuracy; export.max_accuracy_drop allows 0.01$"):
        gate.check_export(results, "accuracy", 0.01)


def test_a_variant_that_lost_too_much_leaves_the_old_files(copy):
    """With predictions in which the Keras model is always right, every variant is worse."""
    predictions = copy / "metrics/predictions.csv"
    table = pd.read_csv(predictions)
    for label in (copy / "models/labels.txt").read_text().split():
        table[f"p_{label}"] = (table.label == label).astype(float)
    table.assign(predicted=table.label).to_csv("perfect.csv", index=False)
    write_params(copy, **HEAD_ONLY, export__max_accuracy_drop=0.0)
    before = shell("sha256sum", *sorted((copy / "models/tflite").iterdir()), cwd=copy)
    paths = paths_of("export") | {"predictions": Path("perfect.csv").absolute()}
    done = stage("export", *(f"{key}={path}" for key, path in paths.items()), folder=copy)
    assert done.returncode == 1
    assert "of test accuracy; export.max_accuracy_drop allows 0" in done.stderr.splitlines()[-1]
    assert shell("sha256sum", *sorted((copy / "models/tflite").iterdir()), cwd=copy) == before


def test_calibration_photos_depend_only_on_the_seed():
    pixels = np.arange(100)
    assert np.array_equal(calibration(pixels, 10, 1), calibration(pixels, 10, 1))
    assert not np.array_equal(calibration(pixels, 10, 1), calibration(pixels, 10, 2))
    assert len(calibration(pixels, 1000, 1)) == 100
