"""The study: every experiment once, also after interruptions, and a table with the best model and the reason."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from conftest import ROOT, commit, shell

from facemask.core.errors import UserError
from facemask.experiments import preset, study

NAN = float("nan")


def models(**rows: tuple[float, float, float]) -> pd.DataFrame:
    """A table of models by name: megabytes, accuracy and the lower end of its interval."""
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["megabytes", "accuracy", "low"])
    return table.rename_axis("name").reset_index().assign(high=1.0)


def test_the_pareto_front_has_the_models_that_none_dominates():
    table = models(small=(1, 0.8, 0), middle=(2, 0.9, 0), waste=(3, 0.9, 0), bad=(4, 0.7, 0), large=(9, 0.95, 0))
    assert list(table.name[study.on_front(table)]) == ["small", "middle", "large"]
    twins = models(one=(1, 0.8, 0), other=(1, 0.8, 0))
    assert study.on_front(twins).all()


def test_the_smallest_model_within_the_interval_of_the_best_is_chosen():
    best, why = study.choose(models(large=(9, 0.95, 0.90), small=(2, 0.91, 0.8), tiny=(1, 0.89, 0.8)))
    assert best == "small"
    assert "of the 2 whose test accuracy is within the 95 % interval of the highest (large: 0.9500" in why
    assert study.choose(models(first=(2, 0.94, 0.9), second=(2, 0.95, 0.9)))[0] == "second"
    best, why = study.choose(models(large=(9, 0.95, 0.90), small=(2, 0.89, 0.8)))
    assert best == "large"
    assert "the highest test accuracy, 0.9500" in why


def test_missing_values_and_failed_experiments_leave_cells_empty():
    table = models(lost=(1, 0.8, 0.7)).assign(
        f1=0.8, photos=10, int8=0.8, front=True, external=[{}], parameters=NAN, milliseconds=NAN, seconds=NAN
    )
    lines = study.report({"lost": [], "bad": ["lr=2"]}, table, {"bad": "lr: 2 | no"}, "picture.png").splitlines()
    assert "| lost | none | 0.8000 (0.7000 to 1.0000) | 0.8000 |  | 1.00 | 0.8000 | yes |  |  |" in lines
    assert "| bad | `lr=2` | failed: lr: 2 \\| no |  |  |  |  |  |  |  |" in lines
    assert "best" not in study.report({"bad": []}, pd.DataFrame(), {"bad": "no"}, "picture.png")


def test_the_committed_study_is_on_top_of_its_preset(tmp_path):
    from conftest import changed, load_params

    archive = json.loads(json.dumps(preset.load("archive", ROOT / "presets")))
    for name, changes in study.load(ROOT / "study.yaml").items():
        content = preset.merge(yaml.safe_load((ROOT / "params.yaml").read_text()), archive)
        pairs = dict(change.split("=", 1) for change in changes)
        changed(content, {key: yaml.safe_load(value) for key, value in pairs.items()})
        Path("params.yaml").write_text(yaml.safe_dump(content))
        load_params()
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name)


@pytest.mark.parametrize("content", ["[a, b]", "a: lr=1e-4", "{"])
def test_an_invalid_study_is_one_line(content, tmp_path):
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(UserError, match=r"study.yaml (must give|is not valid YAML)"):
        study.load(tmp_path / "study.yaml")


PATHS = ["experiments=study.yaml", "page=docs/study.md", "picture=docs/study.png"]
COMMAND = [sys.executable, "-m", "facemask.experiments.study", *PATHS]
TINY_STUDY = {
    "slow-lr": ["lr=1e-4"],
    "no-such-layer": ["train_from=block_99"],
    "wide-head": ["head.units=[8]", "head.dropout=[0.1]"],
}


def run(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(COMMAND, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", "DVC_NO_ANALYTICS": "1"}


def without_times(report: str) -> list[list[str]]:
    return [line.split("|")[:-3] if line.startswith("|") else [line] for line in report.splitlines()]


@pytest.mark.slow
def test_a_stopped_study_continues_and_a_second_one_is_the_same(copy):
    (copy / "study.yaml").write_text(yaml.safe_dump(TINY_STUDY, sort_keys=False))
    commit(copy, "study")
    stopped = subprocess.Popen(COMMAND, cwd=copy, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, start_new_session=True)  # fmt: skip
    for line in stopped.stdout:
        if line.startswith("[2/3]"):
            time.sleep(5)
            os.killpg(stopped.pid, signal.SIGINT)
            break
    stopped.communicate()
    assert stopped.returncode != 0
    assert not (copy / "docs/study.md").exists()
    assert shell("dvc", "exp", "list", "--name-only", cwd=copy).split() == ["slow-lr"]

    done = run(copy)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "[1/3] slow-lr: exists\n" in done.stdout
    report = (copy / "docs/study.md").read_text()
    assert (copy / "docs/study.png").stat().st_size > 5000
    failed = next(line for line in report.splitlines() if line.startswith("| no-such-layer"))
    assert "failed: features: train_from: mobilenet_v2 has no layer 'block_99'" in failed
    for name in ("slow-lr", "wide-head"):
        assert re.search(rf"^\| {name} \|.*\d\.\d{{4}} \(\d\.\d{{4}} to \d\.\d{{4}}\)", report, re.MULTILINE)
    assert "scenes: balanced" in report
    mlflow.set_tracking_uri(f"sqlite:///{copy}/mlflow.db")
    found = mlflow.search_runs(experiment_names=["facemask"], filter_string="tags.study LIKE 'study@%'")
    assert set(found["tags.dvc.exp_name"]) == {"slow-lr", "wide-head"}

    assert run(copy).returncode == 0
    assert (copy / "docs/study.md").read_text() == report
    shell("dvc", "exp", "remove", "slow-lr", "wide-head", cwd=copy)
    again = run(copy)
    assert again.returncode == 0
    assert ": exists" not in again.stdout
    assert without_times((copy / "docs/study.md").read_text()) == without_times(report)

    (copy / "params.yaml").write_text((copy / "params.yaml").read_text() + "\n")
    refused = run(copy)
    assert refused.returncode == 1
    assert refused.stderr == "study: params.yaml is not committed; a study compares on one commit\n"
