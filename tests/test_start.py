"""A stage imports only what it uses: TensorFlow alone takes seconds."""

import subprocess
import sys

import pytest
from conftest import ROOT, outputs_of, paths_of, stage

HEAVY = {"tensorflow", "keras", "mlflow", "sklearn", "scipy", "matplotlib", "cv2", "requests"}


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("fetch", {"requests"}),
        ("survey", {"cv2", "scipy", "matplotlib"}),
        ("split", {"requests"}),
        ("augment", {"cv2", "matplotlib"}),
        ("features", set()),
        ("corrupt", {"cv2"}),
        ("train", {"matplotlib"}),
        ("evaluate", {"cv2", "matplotlib"}),
        ("export", {"cv2"}),
        ("card", set()),
        ("record", set()),
    ],
)
def test_a_stage_imports_only_what_it_needs(name, used):
    code = f"import sys, stages.{name}; print(*(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == used


@pytest.mark.parametrize(
    ("name", "metrics"), [("train", "history.csv"), ("evaluate", "test.json"), ("export", "export.json")]
)
def test_an_experiment_with_a_head_needs_no_tensorflow(name, metrics, copy, tmp_path):
    absent = tmp_path / "absent/tensorflow"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('TensorFlow is not there')\n")
    outputs = outputs_of(name)
    args = [f"{key}={tmp_path / path.name if str(path) in outputs else path}" for key, path in paths_of(name).items()]
    done = stage(name, *args, folder=copy, PYTHONPATH=f"{ROOT}:{absent.parent}")
    assert done.returncode == 0, done.stderr
    assert "TensorFlow is not there" not in done.stderr
    assert (tmp_path / metrics).read_bytes() == (copy / "metrics" / metrics).read_bytes()
