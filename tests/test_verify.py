"""verify: the same bytes, or the first difference; no files are left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, checkout, commit, shell

from facemask.experiments import verify

EXPENSIVE = ("augment", "features", "audit", "corrupt", "train", "evaluate", "export", "card", "record")


@pytest.fixture(scope="session")
def short(tmp_path_factory) -> Path:
    """A committed pipeline without its expensive stages, which takes seconds."""
    folder = checkout(tmp_path_factory.mktemp("short"))
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text())
    for name in EXPENSIVE:
        del pipeline["stages"][name]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline["stages"]}, sort_keys=False))
    shell("dvc", "repro", cwd=folder)
    commit(folder, "reproduced")
    return folder


def verified(folder: Path, temporary: Path) -> subprocess.CompletedProcess:
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "facemask.experiments.verify"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not list(temporary.glob("facemask-*"))
    return done


def test_a_correct_lock_is_verified_in_a_clone_and_the_checkout_is_unchanged(short, tmp_path):
    before = shell("git", "status", "--porcelain", "--ignored", cwd=short)
    done = verified(short, tmp_path / "temporary")
    assert done.returncode == 0, done.stderr
    assert "verified: 8 outputs of 3 stages are byte for byte as in dvc.lock\n" in done.stdout
    assert "Running stage 'split'" in done.stdout
    assert shell("git", "status", "--porcelain", "--ignored", cwd=short) == before


def test_the_first_stage_that_differs_is_named_with_its_outputs_and_possible_reasons(short, tmp_path):
    folder = tmp_path / "clone"
    shell("git", "clone", "--quiet", short, folder, cwd=tmp_path)
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    for name, path in (("split", "data/manifest.csv"), ("survey", "data/faces.csv")):
        next(out for out in lock["stages"][name]["outs"] if out["path"] == path)["md5"] = "0" * 32
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    shell("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qam", "wrong", cwd=folder)
    done = verified(folder, tmp_path / "temporary")
    assert done.returncode == 1
    assert "survey is the first stage that differs: data/faces.csv\nafter it: split\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("verify: 2 of 8 outputs differ from dvc.lock\n")


def test_a_pipeline_that_fails_in_the_clone_is_one_line(short, tmp_path):
    folder = tmp_path / "clone"
    shell("git", "clone", "--quiet", short, folder, cwd=tmp_path)
    (folder / "params.yaml").write_text("seed: wrong\n")
    shell("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qam", "wrong", cwd=folder)
    done = verified(folder, tmp_path / "temporary")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("verify: dvc repro failed in the clone (status ")


def test_stages_are_in_topological_order():
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    order = verify.in_order(stages)
    chain = ["fetch", "survey", "split", "augment", "features", "train", "evaluate", "export", "card"]
    assert [name for name in order if name in chain] == chain


def test_packages_other_than_pinned_are_named():
    pins = "numpy==0.1 \\\n    --hash=sha256:00\nno-such-package==1\npywin32==1 ; sys_platform == 'win32'\n"
    found = verify.other_packages(pins)
    assert [line.split()[0] for line in found] == ["numpy", "no-such-package"]
    assert found[1] == "no-such-package not installed, pinned ==1"
    installed = "".join(f"{name}=={verify.version(name)}\n" for name in ("numpy", "pandas"))
    assert verify.other_packages(installed) == []


def test_only_a_difference_in_tensorflow_is_attributed_to_the_processor(short):
    assert "AVX-512" in verify.reasons(2, "").splitlines()[-1]
    assert "may be a bug" in verify.reasons(None, "")
    assert "may be a bug" not in verify.reasons(None, "numpy==0.1\n")
