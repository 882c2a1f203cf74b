"""The whole pipeline, as users run it: dvc repro, experiments, and the declarations in dvc.yaml."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import HEAD_ONLY, PIPELINE, ROOT, arguments_of, checkout, outputs_of, paths_of, shell, stage, write_params
from pydantic import BaseModel

import stages.__main__
from facemask.core import params
from facemask.core.tables import read_csv
from facemask.data import shards
from facemask.evaluation.decision import decide

COPIED = {"record": {ROOT / "facemask/experiments/served.py"}}  # read, but not imported
CHEAP = ["train", "evaluate", "export", "card", "record"]


def ran(output: str) -> list[str]:
    """The stages a DVC command ran, in order."""
    return re.findall(r"Running stage '(\w+)'", output)


def runs(folder: Path) -> dict[str, mlflow.entities.Run]:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return {run.info.run_name: run for run in mlflow.search_runs(experiment_names=["facemask"], output_format="list")}


def artifacts(run: mlflow.entities.Run) -> set[str]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- the declarations in dvc.yaml


def has_code(file: Path) -> bool:
    """Whether a file holds more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def assert_declared(name: str, deps: list[str], used: set[Path]) -> None:
    """The files of the project that a stage declares are those that it uses, or folders of them."""
    declared = [ROOT / path for path in deps if path.startswith(("facemask", "stages"))]
    for file in used:
        assert any(file == path or path in file.parents for path in declared), f"{name} does not declare {file}"
    for path in declared:
        assert any(file == path or path in file.parents for file in used), f"{name} declares {path} for nothing"


def local_imports(file: Path) -> set[Path]:
    """The project's own files with code that a file imports, and those that they import."""
    found, waiting = set(), [file]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                path = ROOT / name.replace(".", "/")
                for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                    if (
                        name.startswith("facemask.")
                        and candidate not in found
                        and candidate.is_file()
                        and has_code(candidate)
                    ):
                        found.add(candidate)
                        waiting.append(candidate)
    return found


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_declares_every_file_of_the_project_that_it_imports(name):
    script = ROOT / f"stages/{name}.py"
    used = local_imports(script) | {script} | COPIED.get(name, set())
    assert_declared(name, PIPELINE[name]["deps"], used)


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_is_called_with_the_files_it_declares(name):
    named = [path.as_posix() for path in paths_of(name).values()]
    inputs = [path for path in PIPELINE[name]["deps"] if not path.startswith(("facemask", "stages"))]
    assert sorted(named) == sorted(inputs + outputs_of(name))
    assert named[: len(inputs)] == inputs
    parameters = inspect.signature(import_module(f"stages.{name}").main).parameters.values()
    assert list(paths_of(name)) == [one.name for one in parameters if one.default is inspect.Parameter.empty]


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_that_records_in_mlflow_has_an_output_that_git_does_not_hold(name):
    """Otherwise DVC would skip it in a fresh clone, and the run would never be recorded."""
    outs = [out for kind in ("outs", "plots", "metrics") for out in PIPELINE[name].get(kind, [])]
    recorded = "facemask/experiments/tracking.py" in PIPELINE[name]["deps"]
    assert not recorded or any(isinstance(out, str) or next(iter(out.values())).get("cache", True) for out in outs)


@pytest.fixture
def reads(monkeypatch) -> set[str]:
    """The values and sections of params.yaml that are read while the test runs, except by validation."""
    seen: set[str] = set()
    loaded = params.load

    def load(model, *files):
        settings = loaded(model, *files)

        def watch(self, name):
            if self is settings and name in model.model_fields:
                seen.add(name)
            return BaseModel.__getattribute__(self, name)

        monkeypatch.setattr(model, "__getattribute__", watch, raising=False)
        return settings

    monkeypatch.setattr(params, "load", load)
    return seen


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_declares_every_parameter_that_it_reads(name, copy, reads, monkeypatch):
    monkeypatch.chdir(copy)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    module = import_module(f"stages.{name}")
    if name == "train":  # a head is trained without some of them
        write_params(copy, **HEAD_ONLY | {"train_from": "block_16_expand"})
        import_module("stages.features").main(**paths_of("features"))
        reads.clear()
    module.main(**paths_of(name))
    if "params.yaml" not in PIPELINE[name]["deps"]:
        assert set(PIPELINE[name]["params"]) == set(module.Settings.model_fields) == reads


def test_the_whole_of_params_yaml_is_read_by_some_stage_and_checked_before_the_first(tmp_path):
    assert set(stages.__main__.NAMES) == set(PIPELINE)
    write_params(tmp_path, surprise=1, lr="fast")
    done = subprocess.run(
        [sys.executable, "-m", "stages"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("stages: params.yaml: lr: 'fast' is not allowed: input should be a valid number")
    assert done.stderr.endswith("; params.yaml: surprise is not a parameter\n")
    assert done.stderr.count("\n") == 1


# --- as users run it


def test_repro_makes_all_outputs_and_a_second_one_runs_nothing(copy):
    for name in PIPELINE:
        for out in outputs_of(name):
            assert (copy / out).exists()
    output = shell("dvc", "repro", cwd=copy)
    assert ran(output) == []
    assert "Data and pipelines are up to date." in output


def test_the_model_is_evaluated_on_an_external_test_set(reproduced):
    headlines = json.loads((reproduced / "metrics/external.json").read_text())
    scores = pd.read_csv(reproduced / "metrics/scores.csv").query("test_set == 'scenes'").set_index("score")
    report = pd.read_csv(reproduced / "metrics/classification_report.csv").query("test_set == 'scenes'")
    assert report.photos.sum() == 40
    assert headlines == {"scenes": scores.value["balanced_accuracy"]}
    assert scores.low["balanced_accuracy"] <= scores.value["balanced_accuracy"]
    predictions = pd.read_csv(reproduced / "metrics/external.csv")
    assert set(predictions.dataset) == {"scenes"}
    assert predictions.groupby("member").group.nunique().max() == 1
    assert (predictions.label == predictions.predicted).mean() == pytest.approx(scores.value["accuracy"])
    assert (reproduced / "metrics/figures/scenes_confusion_matrix.png").is_file()


def test_a_score_that_is_undefined_for_a_test_set_is_empty_in_the_model_card(copy):
    scores = pd.read_csv(copy / "metrics/scores.csv")
    scores[~((scores.test_set == "scenes") & (scores.score == "roc_auc"))].to_csv(
        copy / "metrics/scores.csv", index=False
    )
    done = stage("card", *arguments_of("card"), folder=copy)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| roc auc \| [\d.()a-z ]+ \|  \|$", (copy / "metrics/model_card.md").read_text(), re.MULTILINE)


def test_the_model_card_agrees_with_the_other_files(reproduced):
    card = (reproduced / "metrics/model_card.md").read_text()
    accuracy = pd.read_csv(reproduced / "metrics/scores.csv").iloc[0]
    assert list(accuracy[["test_set", "score"]]) == ["test", "accuracy"]
    assert f"| accuracy | {accuracy.value:.4f} ({accuracy.low:.4f} to {accuracy.high:.4f}) |" in card
    for sentence in (
        "From scenes, synthetic.",
        "The predicted class is the argmax of the probabilities.",
        "int8.tflite",
        "## Limits",
        "train_from: head",
    ):
        assert sentence in card
    assert "None" not in card.split("```yaml")[0]


def test_the_dataset_card_agrees_with_the_other_files(reproduced):
    card = (reproduced / "metrics/dataset_card.md").read_text()
    source = json.loads((reproduced / "data/raw/synthetic.json").read_text())
    assert f"| synthetic | synthetic | faces drawn by facemask | MIT | 60 | `{source['sha256'][:16]}` |" in card
    assert "scenes.zip" in card
    manifest = pd.read_csv(reproduced / "data/manifest.csv")
    of_scenes = manifest[manifest.dataset == "scenes"]
    counts = of_scenes.label.value_counts().sort_index()
    assert f"| scenes | {' | '.join(str(counts.get(name, 0)) for name in sorted(manifest.label.unique()))} |" in card
    side = np.minimum(of_scenes.width, of_scenes.height)
    assert f"| scenes | {side.min()} |" in card
    assert f" | {side.max()} |" in card
    issues = pd.read_csv(reproduced / "metrics/label_issues.csv")
    found = (issues.dataset == "synthetic").sum()
    assert f"| synthetic | 60 | {found} | {found / 60:.2%} |" in card
    apart = json.loads((reproduced / "metrics/sources.json").read_text())["told_apart"]
    assert f"tells the datasets apart with a balanced accuracy of {apart:.4f} (0.5000 by chance)" in card
    near = json.loads((reproduced / "metrics/data_details.json").read_text())["near_duplicates"]
    left = near["remaining"]
    assert f"- {near['compared']:,} candidate pairs were compared. Near-duplicates: " in card
    assert f"- What was not found: of a random sample of {left['sampled']} photos, {left['found']} have a " in card
    assert f"{left['low']:.2%} to {left['high']:.2%} of all (95 % interval)" in card
    assert "None" not in card


def test_a_dataset_card_without_an_estimate_of_what_is_left_says_so(copy):
    file = copy / "metrics/data_details.json"
    data = json.loads(file.read_text())
    data["near_duplicates"]["remaining"] = {}
    file.write_text(json.dumps(data))
    done = stage("card", *arguments_of("card"), folder=copy)
    assert done.returncode == 0, done.stderr
    assert "how many near-duplicates are left was not estimated." in (copy / "metrics/dataset_card.md").read_text()


@pytest.mark.slow
def test_decision_recall_sets_the_threshold_and_all_outputs_use_it(copy):
    shell("dvc", "exp", "run", "--set-param", "decision.recall=0.99", cwd=copy)
    rule = json.loads((copy / "models/decision.json").read_text())
    assert 0 < rule["threshold"] < 1
    predictions = pd.read_csv(copy / "metrics/predictions.csv")
    positive = predictions.predicted == "without_mask"
    assert (positive == (predictions.p_without_mask >= rule["threshold"])).all()
    assert json.loads((copy / "models/tflite/faces.json").read_text()) == {"margin": 0.2, "min_size": 32}
    assert (copy / "models/tflite/decision.json").read_bytes() == (copy / "models/decision.json").read_bytes()
    exported = pd.read_csv(copy / "metrics/variants.csv", index_col="variant").loc["float32"]
    assert exported.agreement == 1
    assert exported.accuracy == pytest.approx((predictions.label == predictions.predicted).mean())
    assert (
        f"The predicted class is without_mask from a probability of {rule['threshold']:.4f}"
        in (copy / "metrics/model_card.md").read_text()
    )


@pytest.mark.slow
def test_a_forced_repro_gives_the_same_bytes(copy):
    shell("dvc", "repro", "--force", cwd=copy)
    assert shell("git", "status", "--porcelain", cwd=copy) == ""


def test_an_execution_is_one_run_with_all_its_artifacts(reproduced):
    [run] = runs(reproduced).values()
    assert run.info.status == "FINISHED"
    assert {"accuracy", "int8_accuracy", "balanced_accuracy_scenes", "epoch.val_accuracy", "train.seconds",
            "tflite.int8.milliseconds", "test.accuracy.low", "test.with_mask.f1"} <= set(run.data.metrics)  # fmt: skip
    assert {"lr", "augment.rotation", "head.units"} <= set(run.data.params)
    assert run.data.tags["model"] == "mobilenet_v2"
    assert artifacts(run) >= {
        "history.csv", "curves.png", "test.json", "predictions.csv", "variants.csv",
        "figures/test_confusion_matrix.png", "figures/test_roc.png", "figures/test_photos.png",
        "figures/test_mistakes.png", "figures/test_reliability.png", "trained.npz", "external.json", "scores.csv",
        "tflite/float32.tflite", "tflite/float16.tflite", "tflite/int8.tflite", "tflite/labels.txt",
        "tflite/decision.json", "predictions.json", "model_card.md",
    }  # fmt: skip
    mlflow.set_tracking_uri(f"sqlite:///{reproduced}/mlflow.db")
    assert [version.run_id for version in mlflow.search_model_versions()] == [run.info.run_id]


@pytest.mark.parametrize("threshold", [None, 0.335])
def test_the_logged_model_predicts_as_the_pipeline_does(threshold, copy):
    mlflow.set_tracking_uri(f"sqlite:///{copy}/mlflow.db")
    [rule] = (copy / "mlartifacts").rglob("artifacts/artifacts/tflite/decision.json")
    rule.write_text(json.dumps(json.loads(rule.read_text()) | {"threshold": threshold}))
    photos = np.asarray(shards.array(copy / "data/shards", "scenes"))
    answers = mlflow.pyfunc.load_model("models:/facemask/1").predict(photos)
    predictions = read_csv(copy / "metrics/external.csv")
    classes = (copy / "models/labels.txt").read_text().splitlines()
    probabilities = answers[[f"p_{label}" for label in classes]].to_numpy()
    np.testing.assert_allclose(probabilities, predictions[[f"p_{label}" for label in classes]], atol=1e-5)
    expected = decide(probabilities, classes, "without_mask", threshold)
    assert list(answers.label) == [classes[index] for index in expected]


def test_an_experiment_runs_only_the_stages_that_depend_on_its_changes(experimented):
    assert ran(experimented.with_suffix(".log").read_text()) == CHEAP
    run = runs(experimented)["try"]
    assert float(run.data.params["lr"]) == 1e-5
    assert "- `lr`: 0.003 → 1e-05\n" in run.data.tags["mlflow.note.content"]
    assert f"Test accuracy **{run.data.metrics['accuracy']:.4f}**" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics.keys() >= {"accuracy", "tflite.float32.accuracy"}
    differences = json.loads(shell("dvc", "params", "diff", "--json", "HEAD", "try", cwd=experimented))
    assert list(differences["params.yaml"]) == ["lr"]


@pytest.mark.slow
def test_a_queue_with_two_workers_records_all_experiments(copy):
    shell("dvc", "exp", "run", "--queue", "--set-param", "lr=1e-3,1e-4", cwd=copy)
    shell("dvc", "queue", "start", "--jobs", "2", cwd=copy)
    names = [line.split()[1] for line in shell("dvc", "queue", "status", cwd=copy).splitlines()[1:3]]
    for name in names:
        output = shell("dvc", "queue", "logs", "--follow", name, cwd=copy)
        assert ran(output) == CHEAP, output
    recorded = runs(copy)
    assert {float(recorded[name].data.params["lr"]) for name in names} == {1e-3, 1e-4}
    first, second = (artifacts(recorded[name]) for name in names)
    assert {"figures/test_roc.png", "tflite/int8.tflite", "history.csv"} <= first & second
    assert all(name in shell("dvc", "exp", "show", "--md", cwd=copy) for name in names)


def test_a_wrong_parameter_stops_a_fresh_repro_with_one_line(tmp_path):
    folder = checkout(tmp_path / "fresh", datasets__synthetic__images="many")
    done = subprocess.run(["dvc", "repro"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert (
        "fetch: params.yaml: datasets.synthetic.images: 'many' is not allowed: input should be a valid integer\n"
    ) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"weights": "nowhere.weights.h5"}, "params.yaml: weights: there is no file"),
        ({"weights": "imagenet"}, "weights: imagenet could not be downloaded"),
        ({"train_from": "block_99"}, "train_from: mobilenet_v2 has no layer 'block_99'; give head, input or one of: "),
    ],
)
def test_a_network_that_cannot_be_built_stops_features_with_one_line(changes, line, copy):
    write_params(copy, **{**HEAD_ONLY, **changes})
    done = stage("features", *arguments_of("features"), folder=copy)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"features: {line}")
