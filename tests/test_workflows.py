"""The workflow files: valid, and their shell steps do what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import HEAD_ONLY, ROOT, commit, shell, write_params

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_fits_the_schema(file):
    shell("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file, cwd=ROOT)


def test_the_workflows_hand_no_shell_what_strangers_write_and_nobody_a_token():
    shell("zizmor", "--offline", "--no-progress", ".github", cwd=ROOT)


def steps(name: str) -> dict[str, str]:
    """The shell steps of a workflow's only job, by name."""
    [job] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"].values()
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def run_step(script: str, folder, **environment) -> subprocess.CompletedProcess:
    """Run a step as the workflow's runner does, with the environment already made."""
    script = script.replace(".venv/bin/", "")
    make = 'make() { command make --old-file=.venv/requirements.lock "$@"; }\n'
    shell("mkdir", "-p", ".venv", cwd=folder)
    shell("touch", ".venv/requirements.lock", cwd=folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", make + script],
        cwd=folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_pull_request_is_told_what_it_changes(copy):
    shell("git", "switch", "--quiet", "--create", "proposal", cwd=copy)
    write_params(copy, **HEAD_ONLY, lr=0.0001)
    results = json.loads((copy / "metrics/test.json").read_text())
    (copy / "metrics/test.json").write_text(json.dumps({**results, "accuracy": results["accuracy"] / 2}))
    commit(copy, "slower")
    done = run_step(steps("metrics")["Compare with the target branch"], copy, BASE="main")
    assert done.returncode == 0, done.stderr
    report = (copy / "report.md").read_text()
    assert "| params.yaml | lr" in report
    assert "| metrics/test.json | accuracy" in report
    assert report.startswith("### Parameters and metrics against main")


@pytest.mark.parametrize("branch", ["main';touch${IFS}ran;'", "$(touch${IFS}ran)", "$(shell touch ran)", "`touch ran`"])
def test_the_name_of_a_branch_is_never_run(branch, copy):
    done = run_step(steps("metrics")["Compare with the target branch"], copy, BASE=f"origin/{branch}")
    assert done.returncode != 0
    assert (copy / "report.md").read_text() == f"### Parameters and metrics against origin/{branch}\n\n"
    assert not (copy / "ran").exists()


def test_a_stale_lock_fails_the_build(copy):
    fresh = steps("tests")["dvc.lock fits code and parameters"]
    assert run_step(fresh, copy).returncode == 0
    write_params(copy, **HEAD_ONLY, lr=0.5)
    assert run_step(fresh, copy).returncode != 0
