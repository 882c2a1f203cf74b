"""The workflow files are valid, and their shell steps work."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import HEAD_ONLY, ROOT, commit, shell, write_params

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_fits_the_schema(file):
    shell("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file, cwd=ROOT)


def test_workflows_have_no_template_injection_and_no_exposed_token():
    shell("zizmor", "--offline", "--no-progress", ".github", cwd=ROOT)


def steps(name: str) -> dict[str, str]:
    """The shell steps of a workflow's only job, by name."""
    [job] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"].values()
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def run_step(script: str, folder, **environment) -> subprocess.CompletedProcess:
    """Run a step as the workflow's runner does, with an existing environment."""
    script = script.replace(".venv/bin/", "")
    make = 'make() { command make --old-file=.venv/requirements.lock "$@"; }\n'
    shell("mkdir", "-p", ".venv", cwd=folder)
    shell("touch", ".venv/requirements.lock", cwd=folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", make + script],
        cwd=folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


COMPARE = "Compare with the target branch"


def proposal(folder: Path, loss: float, apart: list[float] | None = None) -> None:
    """A branch with another learning rate, another figure, a lower accuracy and, if given, another interval.

    On the main branch, the interval of accuracy is 0.005 below its value.
    """
    scores = pd.read_csv(folder / "metrics/scores.csv")
    scores.loc[0, "low"] = scores.loc[0, "value"] - 0.005
    scores.to_csv(folder / "metrics/scores.csv", index=False)
    commit(folder, "a narrow interval")
    shell("git", "switch", "--quiet", "--create", "proposal", cwd=folder)
    write_params(folder, **HEAD_ONLY, lr=0.0001)
    results = json.loads((folder / "metrics/test.json").read_text())
    results |= {"accuracy": results["accuracy"] - loss, "loss": results["loss"] + 1, "f1": results["f1"] - 0.1}
    (folder / "metrics/test.json").write_text(json.dumps(results))
    (folder / "metrics/export.json").write_text(json.dumps({"int8_accuracy": 0.1, "int8_mb": 9.9}))
    scores.loc[0, "value"] -= loss
    scores.loc[0, ["low", "high"]] = apart or list(scores.loc[0, ["low", "high"]])
    scores.to_csv(folder / "metrics/scores.csv", index=False)
    shutil.copy(folder / "metrics/groups.png", folder / "metrics/curves.png")
    commit(folder, "slower")
    shell("git", "switch", "--quiet", "main", cwd=folder)
    commit(folder, "main goes on")
    shell("git", "switch", "--quiet", "proposal", cwd=folder)


def test_the_comment_on_a_pull_request_shows_what_it_changes(copy):
    proposal(copy, loss=0.004)
    done = run_step(steps("metrics")[COMPARE], copy, BASE="main", FIGURES_URL="https://host/owner/name/raw")
    assert done.returncode == 0, done.stderr
    report = (copy / "report.md").read_text()
    before, now = (shell("git", "rev-parse", name, cwd=copy).strip() for name in ("main~1", "proposal"))
    title, verdict, *_ = report.split("\n\n")
    assert title == f"### Since the merge base with main ({before[:7]})"
    assert verdict == "The model is not worse than allowed."
    headline = next(line for line in report.splitlines() if line.startswith("| accuracy"))
    value = r"-?\d\.\d{4} \(\d\.\d{4} to \d\.\d{4}\)"
    assert re.fullmatch(rf"\| accuracy \| {value} \| {value} \| -0\.0040 \| overlap \|", headline)
    assert "| `lr` | 0.003 | 0.0001 |" in report
    assert "| metric | before | now | change | 95 % intervals |" in report
    assert "balanced" not in report, "what did not change is left out"
    places = [report.index(f"| {name} |") for name in ("accuracy", "f1", "loss", "int8 accuracy", "`lr`")]
    assert sorted(places) == places, "headlines lead, in an order that does not change"
    assert places[-1] < report.index("<details>")
    urls = [f"![](https://host/owner/name/raw/{commit}/metrics/curves.png)" for commit in (before, now)]
    assert f"| metrics/curves.png | {urls[0]} | {urls[1]} |" in report
    assert "<summary>Figures that differ: 1</summary>" in report


def test_a_pull_request_that_makes_the_model_worse_fails(copy):
    proposal(copy, loss=0.006, apart=[0.98, 0.99])
    done = run_step(steps("metrics")[COMPARE], copy, BASE="main")
    assert done.returncode != 0
    reason = r"^diff: accuracy fell from \d\.\d{4} to \d\.\d{4}, below the 95 % interval"
    assert re.search(reason, done.stderr, re.MULTILINE)
    report = (copy / "report.md").read_text()
    assert "**Worse:** accuracy fell from" in report
    assert "| -0.0060 | do not overlap |" in report
    assert "shows them): metrics/curves.png" in report


def test_scores_on_different_test_splits_are_not_compared(copy):
    proposal(copy, loss=0.5)
    lock = (copy / "dvc.lock").read_text()
    outs = yaml.safe_load(lock)["stages"]["split"]["outs"]
    manifest = next(out["md5"] for out in outs if out["path"] == "data/manifest.csv")
    (copy / "dvc.lock").write_text(lock.replace(manifest, "a" * 32))
    report = shell(sys.executable, "-m", "facemask.experiments.diff", "branch=main", cwd=copy)
    assert "Not compared: the manifests differ, so the scores are of different test splits." in report


def test_the_comment_says_that_nothing_changed(copy):
    now = shell("git", "rev-parse", "main", cwd=copy)
    report = shell(sys.executable, "-m", "facemask.experiments.diff", "branch=main", cwd=copy)
    parts = "The model is not worse than allowed.", "No metrics differ.", "No params differ.", "No figures differ."
    assert report == "\n\n".join([f"### Since main ({now[:7]})", *parts]) + "\n"


@pytest.mark.parametrize("branch", ["main';touch${IFS}ran;'", "$(touch${IFS}ran)", "$(shell touch ran)", "`touch ran`"])
def test_the_name_of_a_branch_is_never_run(branch, copy):
    done = run_step(steps("metrics")[COMPARE], copy, BASE=f"origin/{branch}")
    assert done.returncode != 0
    assert f"diff: there is no experiment or revision origin/{branch}" in done.stderr
    assert not (copy / "ran").exists()


def test_a_stale_lock_fails_the_build(copy):
    fresh = steps("tests")["dvc.lock fits code and parameters"]
    assert run_step(fresh, copy).returncode == 0
    write_params(copy, **HEAD_ONLY, lr=0.5)
    assert run_step(fresh, copy).returncode != 0
