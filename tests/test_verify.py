"""verify: the same bytes, or the first difference; no files are left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, checkout, commit, shell

from facemask.core import machine
from facemask.experiments import verify
from facemask.experiments.machine import difference

NETWORK = ("features", "train")  # stages whose last digits depend on the processor

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
    assert "verified: 10 outputs of 3 stages are byte for byte as in dvc.lock\n" in done.stdout
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
    assert done.stderr.endswith("verify: 2 of 10 outputs differ from dvc.lock\n")


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


def test_other_photos_of_the_user_are_no_bug():
    last = verify.reasons(None, "", of_user=True).splitlines()[-1]
    assert last.startswith("  a dataset may hold other photos than then; ")
    assert "may be a bug" in verify.reasons(None, "", of_user=False)


def test_the_kind_of_a_processor_is_its_widest_vector_instructions(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    for flags, words in (("avx avx2 avx512f avx512bw", " with AVX-512"), ("avx avx2", " with AVX2"), ("sse", "")):
        cpuinfo.write_text(f"model name\t: One\nflags\t\t: {flags}\n")
        assert machine.processor(cpuinfo) == f"{machine.platform.machine()}{words}"
    assert machine.processor(tmp_path / "none") == machine.platform.machine()


def test_what_differs_between_two_machines_is_named():
    kind = machine.kind()
    assert difference(kind, kind) == ""
    assert difference({"processor": "a", "numpy": "1"}, {"processor": "b", "numpy": "1", "keras": "3"}) == (
        "keras 3, not none; processor b, not a"
    )


def test_the_largest_difference_of_a_metric_counts_one_that_is_gone():
    changes = {
        "a.json": {"accuracy": {"old": 1.0, "new": 0.75, "diff": -0.25}, "loss": {"old": 0, "new": 0.1, "diff": 0.1}}
    }
    assert verify.largest(changes) == (0.25, "accuracy")
    assert verify.largest(changes | {"b.json": {"gone": {"old": 1.0, "new": None}}}) == (verify.inf, "gone")
    assert verify.largest({}) == (0.0, "no metric")


def of_another_machine(source: Path, folder: Path, accuracy: float, stages: Sequence[str] = NETWORK) -> Path:
    """A clone whose committed outputs are of another kind of machine, where the accuracy was another."""
    shell("git", "clone", "--quiet", source, folder, cwd=source)
    for name, key, value in (("machine", "processor", "another"), ("test", "accuracy", accuracy)):
        file = folder / f"metrics/{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    for name in stages:
        for out in lock["stages"][name]["outs"]:
            out["md5"] = "0" * 32
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    commit(folder, "another machine")
    return folder


@pytest.mark.slow
def test_on_another_kind_of_machine_metrics_are_compared_within_a_tolerance(reproduced, tmp_path):
    accuracy = json.loads((reproduced / "metrics/test.json").read_text())["accuracy"]
    near = of_another_machine(reproduced, tmp_path / "near", accuracy - 0.004)
    done = verified(near, tmp_path / "one")
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("verified within 0.01: accuracy differs most, by 0.004000; ")
    assert line.endswith(f"(processor {machine.processor()}, not another)")
    far = verified(of_another_machine(reproduced, tmp_path / "far", accuracy - 0.02), tmp_path / "two")
    assert far.returncode == 1
    assert "features is the first stage that differs" in far.stderr
    other = verified(of_another_machine(reproduced, tmp_path / "other", accuracy, ["split", *NETWORK]), tmp_path / "3")
    assert other.returncode == 1
    assert "split is the first stage that differs" in other.stderr


def test_make_repro_ends_with_a_line_on_another_kind_of_machine(copy):
    command = [sys.executable, "-m", "facemask.experiments.machine", "lock=dvc.lock", "record=metrics/machine.json"]
    assert shell(*command, cwd=copy) == ""
    file = copy / "metrics/machine.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"processor": "another"}))
    line = shell(*command, cwd=copy)
    assert f"(processor another, not {machine.processor()})" in line
    assert line.endswith("Back to HEAD: git restore dvc.lock metrics\n")
    shell("git", "restore", "dvc.lock", "metrics", cwd=copy)
    assert shell(*command, cwd=copy) == ""
