"""The locks fit what they are made from, and the hooks of a commit say if one does not."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import HEAD_ONLY, ROOT, shell, write_params

from facemask.experiments.requirements import unmet


def run(module: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"facemask.experiments.{module}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def project(*requirements: str, build: str = "setuptools>=77") -> dict:
    return {
        "build-system": {"requires": [build]},
        "project": {"name": "own", "optional-dependencies": {"all": ["own[one]"], "one": list(requirements)}},
    }


LOCK = """
setuptools==80.1 \\
    --hash=sha256:00
py-yaml==6.0rc1 ; python_full_version < '3.14' \\
    --hash=sha256:00
forked==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
forked==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:00
"""


def test_the_committed_lock_has_what_the_project_requires():
    done = run("requirements", ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_markers_extras_and_versions_before_a_release_are_understood():
    assert unmet(project("Py.YAML[fast]>=6.0a1 ; python_version < '3'", "forked>=1"), LOCK) == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (project("added>=1"), "added>=1 (locked: no version)"),
        (project("py-yaml>=7"), "py-yaml>=7 (locked: 6.0rc1)"),
        (project("forked>=2"), "forked>=2 (locked: 1.0, 2.0)"),
        (project(build="setuptools>=81"), "setuptools>=81 (locked: 80.1)"),
    ],
    ids=["absent", "too old", "too old on one system", "to build"],
)
def test_a_requirement_that_the_lock_does_not_meet_is_named(content, line):
    assert unmet(content, LOCK) == [line]


def test_a_lock_that_does_not_fit_is_one_line(tmp_path):
    (tmp_path / "requirements.lock").write_text((ROOT / "requirements.lock").read_text())
    required = (ROOT / "pyproject.toml").read_text()
    assert "dvc>=3.60" in str(tomllib.loads(required))
    (tmp_path / "pyproject.toml").write_text(required.replace("dvc>=3.60,<4", "dvc>=4"))
    done = subprocess.run(
        [sys.executable, "-m", "facemask.experiments.requirements"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("requirements: requirements.lock does not fit pyproject.toml: dvc>=4 (locked: 3.")
    assert done.stderr.endswith("; run: make lock\n")
    assert done.stderr.count("\n") == 1


def without_data(repository: Path, folder: Path) -> Path:
    """A clone, which has no data and no models."""
    shell("git", "clone", "--quiet", repository, folder, cwd=repository)
    return folder


def test_a_fresh_clone_is_fresh(reproduced, tmp_path):
    done = run("fresh", without_data(reproduced, tmp_path / "clone"))
    assert (done.returncode, done.stderr) == (0, "")


def test_code_and_parameters_that_the_lock_does_not_fit_are_one_line(reproduced, tmp_path):
    clone = without_data(reproduced, tmp_path / "clone")
    command = "run: dvc repro dvc.yaml, and commit dvc.lock\n"
    write_params(clone, **HEAD_ONLY, lr=0.5)
    expected = "fresh: dvc.lock does not fit code and parameters: the first stage out of date is train; " + command
    assert run("fresh", clone).stderr == expected
    with (clone / "stages/split.py").open("a") as file:
        file.write("# changed\n")
    done = run("fresh", clone)
    assert (done.returncode, done.stderr) == (1, expected.replace("train", "split"))


def test_the_lock_of_another_pipeline_is_named(reproduced, tmp_path):
    clone = without_data(reproduced, tmp_path / "clone")
    text = clone / "detection/text"
    text.write_text("one")
    stages = {"stages": {"copied": {"cmd": "cp text copied", "deps": ["text"], "outs": ["copied"]}}}
    (clone / "detection/dvc.yaml").write_text(yaml.safe_dump(stages))
    shell("dvc", "repro", "detection/dvc.yaml", cwd=clone)
    assert run("fresh", clone).returncode == 0
    text.write_text("two")
    assert run("fresh", clone).stderr == (
        "fresh: detection/dvc.lock does not fit code and parameters: the first stage out of date is copied; "
        "run: dvc repro detection/dvc.yaml, and commit detection/dvc.lock\n"
    )


def test_the_hooks_pass_on_a_clean_commit_and_refuse_a_wrong_one(copy, tmp_path):
    (copy / ".venv").symlink_to(sys.prefix)
    shell("pre-commit", "install", cwd=copy, PRE_COMMIT_HOME=str(tmp_path / "hooks"))
    shell("pre-commit", "run", "--all-files", cwd=copy, PRE_COMMIT_HOME=str(tmp_path / "hooks"))
    required = copy / "pyproject.toml"
    required.write_text(required.read_text().replace('"ruff>=0.9"', '"ruff>=99"'))
    (copy / "stages/split.py").write_text((copy / "stages/split.py").read_text() + "x=1\nimport os\n")
    shell("git", "add", "--all", cwd=copy)
    done = subprocess.run(
        ["git", "commit", "--message", "wrong"],
        cwd=copy, env={**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "hooks")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    failed = [line.partition("...")[0] for line in done.stderr.splitlines() if line.endswith("Failed")]
    assert failed == [
        "ruff check", "ruff format", "requirements.lock fits pyproject.toml", "dvc.lock fits code and parameters",
    ]  # fmt: skip
