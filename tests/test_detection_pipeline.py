"""The second pipeline: the contract of detection/dvc.yaml, and a whole run on a few scenes."""

import inspect
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import programs
import pytest
import yaml
from conftest import ROOT, checkout, commit, facemask, shell
from pydantic import BaseModel
from test_pipeline import assert_declared, local_imports

from facemask.core import params
from facemask.core.errors import UserError
from facemask.core.tables import read_csv, write_csv
from facemask.data.archive import Archive
from facemask.data.boxes import Box
from facemask.experiments import preset
from stages.detection.__main__ import check
from stages.detection.evaluate import crop

STAGES = yaml.safe_load((ROOT / "detection/dvc.yaml").read_text())["stages"]
PARAMETERS = "detection/params.yaml"
TINY = {
    "datasets": {"scenes": {"use": "split", "source": "synthetic_scenes", "images": 30, "size": 96}},
    "split": {"train": 0.4, "validation": 0.3, "test": 0.3},
    "image_size": 64,
    "training": {
        "lr": 0.001,
        "trunk_lr": 1.0,
        "warm_up": 1.0,
        "weight_decay": 0.01,
        "epochs": 2,
        "patience": 2,
        "batch_size": 4,
    },
    "export": {"calibration_scenes": 4, "max_map50_drop": 0.9},
}


def arguments(name: str) -> dict[str, str]:
    """The `file=path` arguments that detection/dvc.yaml calls a stage with, in order."""
    return dict(word.split("=") for word in STAGES[name]["cmd"].split()[3:])


def module_of(name: str) -> str:
    return STAGES[name]["cmd"].split()[2]


def outputs(name: str) -> list[str]:
    found = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in found]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_every_file_of_the_project_that_it_imports(name):
    file = ROOT / f"{module_of(name).replace('.', '/')}.py"
    assert_declared(name, STAGES[name]["deps"], local_imports(file) | {file})


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_called_with_the_files_it_declares(name):
    assert STAGES[name]["wdir"] == ".."
    given = arguments(name)
    assert set(given) == set(inspect.signature(import_module(module_of(name)).main).parameters)
    assert given.pop("parameters") == PARAMETERS
    inputs = [path for path in STAGES[name]["deps"] if not path.startswith(("facemask", "stages", PARAMETERS))]
    assert sorted(given.values()) == sorted(inputs + outputs(name))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_parameters_that_it_reads(name):
    settings = import_module(module_of(name)).Settings
    if PARAMETERS in STAGES[name]["deps"]:
        return
    [(file, declared)] = STAGES[name]["params"][0].items()
    assert file == PARAMETERS
    assert set(declared) == set(settings.model_fields)
    source = (ROOT / f"{module_of(name).replace('.', '/')}.py").read_text()
    assert all(re.search(rf"(settings|Settings, parameters\))\.{field}\b", source) for field in declared)


def test_every_parameter_is_read_by_some_stage_and_is_allowed():
    tree = params.read(ROOT / PARAMETERS)
    fields = {}
    for name in STAGES:
        settings: type[BaseModel] = import_module(module_of(name)).Settings
        params.load(settings, ROOT / PARAMETERS)
        fields |= settings.model_fields
    assert set(tree) == set(fields)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "detection/presets").glob("*.yaml")))
def test_a_preset_is_allowed_and_holds_only_what_differs(name, tmp_path):
    shutil.copytree(ROOT / "detection/presets", "detection/presets")
    shutil.copy(ROOT / PARAMETERS, PARAMETERS)
    before, changes = params.read(Path(PARAMETERS)), params.read(Path(f"detection/presets/{name}.yaml"))
    preset.main(name, Path("detection"))
    check(Path(PARAMETERS))
    now = params.read(Path(PARAMETERS))
    assert {key for key in now if now[key] != before[key]} == set(changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"evaluation": {"merge": {"incorrect_mask": "bare"}}}, "evaluation.merge: bare is none of the classes"),
        ({"evaluation": {"merge": {"incorrect_mask": "with_mask", "with_mask": "without_mask"}}},
         "evaluation.merge: with_mask counts as another class, and another as it"),
        ({"alpha": -1.0, "weights": "imagenet"}, "alpha: -1.0 is not allowed"),
        ({"alpha": 1.0}, "weights: synthetic are of mobilenet_v2 with alpha 0.35"),
        ({"image_size": 5}, "image_size: 5 is not allowed"),
        ({"image_size": 100}, "image_size: 100 is no multiple of 32"),
        ({"model": "yolov5s"}, "model: yolov5s begins untrained; set alpha: 1.0"),
        ({"weights": "none", "train_from": "head"}, "train_from: head would freeze untrained layers"),
        ({"scenes": {"classes": {"a\nb": [], "c": []}, "near_duplicates": 1, "max_rejected": 0.1}}, "is no name"),
    ],
)  # fmt: skip
def test_what_the_last_stage_would_refuse_is_refused_before_the_first(changes, line):
    tree = params.read(ROOT / PARAMETERS) | changes
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=line):
        check(Path("params.yaml"))


def test_a_parameter_that_no_stage_reads_is_one_line(tmp_path):
    tree = params.read(ROOT / PARAMETERS) | {"surprise": 1}
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=r"^params.yaml: surprise is not a parameter$"):
        check(Path("params.yaml"))


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """The detection pipeline on a few scenes, run once by `dvc repro` and committed. Read, do not change."""
    folder = tmp_path_factory.mktemp("detected") / "repository"
    checkout(folder)
    shutil.copy2(ROOT / "detection/dvc.yaml", folder / "detection")
    tree = params.read(ROOT / PARAMETERS) | TINY
    (folder / PARAMETERS).write_text(yaml.safe_dump(tree, sort_keys=False))
    commit(folder, "tiny")
    folder.with_suffix(".log").write_text(shell("dvc", "repro", "detection/dvc.yaml", cwd=folder))
    commit(folder, "reproduced")
    return folder


@pytest.mark.slow
def test_repro_makes_everything_and_then_nothing(detected):
    for name in STAGES:
        assert all((detected / out).exists() for out in outputs(name))
    assert "Running stage" not in shell("dvc", "repro", "detection/dvc.yaml", cwd=detected)
    assert shell("git", "status", "--porcelain", cwd=detected) == ""
    assert not list((detected / "detection/models").glob("*.partial"))


@pytest.mark.slow
def test_a_forced_repro_gives_the_same_bytes(detected):
    shell("dvc", "repro", "--force", "detection/dvc.yaml:train", "--single-item", cwd=detected)
    assert shell("git", "status", "--porcelain", cwd=detected) == ""


@pytest.mark.slow
def test_the_files_agree_and_the_run_is_recorded(detected):
    metrics = detected / "detection/metrics"
    scores = pd.read_csv(metrics / "scores.csv").set_index("score").value
    assert json.loads((metrics / "test.json").read_text())["map50"] == pytest.approx(scores.map50, abs=1e-5)
    variants = pd.read_csv(metrics / "variants.csv").set_index("variant")
    assert variants.map50["float32"] == pytest.approx(scores.map50, abs=1e-5)
    assert variants.bytes["int8"] < variants.bytes["float16"] < variants.bytes["float32"]
    assert f"| mAP50, all classes | {scores.map50:.4f}" in (metrics / "detector_card.md").read_text()
    mlflow.set_tracking_uri(f"sqlite:///{detected}/mlflow.db")
    [run] = mlflow.search_runs(experiment_names=["facemask-detection"], output_format="list")
    assert run.data.metrics["map50"] == pytest.approx(scores.map50, abs=1e-5)
    assert {"epoch.loss", "test.right_32.value", "tflite.int8.map50"} <= set(run.data.metrics)


@pytest.mark.parametrize("box", [(12, 3, 12, 9), (3, 12, 9, 12), (0, 0, 0, 0), (4, 4, 8, 8)])
def test_a_box_at_the_edge_of_a_scene_is_shown_by_at_least_a_pixel(box):
    assert crop(np.zeros((12, 12, 3), np.uint8), Box(*box)).size


@pytest.mark.slow
def test_without_large_faces_there_are_no_scores_of_them(detected, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(detected, copy, symlinks=True)
    file = copy / "detection/data/scenes/test.faces.csv"
    faces = read_csv(file)
    faces["right"] = faces[["right"]].join(faces.left + 31).min(axis=1)
    file.unlink()
    write_csv(file, faces)
    done = programs.run(module_of("evaluate"), *STAGES["evaluate"]["cmd"].split()[3:], folder=copy)
    assert done.returncode == 0, done.stderr
    found = json.loads((copy / "detection/metrics/test.json").read_text())
    assert "map50" in found
    assert "recall_32" not in found
    assert f"on {len(read_csv(copy / 'detection/data/scenes/test.csv')):,} scenes" in done.stdout


@pytest.mark.slow
def test_the_exported_detector_labels_photos(detected):
    with Archive(detected / "detection/data/raw/scenes.zip") as archive:
        for name in archive.names[-3:]:
            Path(Path(name).name).write_bytes(archive.read(name))
    weights = detected / "detection/models/tflite/int8.tflite"
    done = facemask("predict", "*.jpg", "--detector", "mask-detector", "--detector-weights", weights)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
