"""Reproducibility: outputs have the same bytes in different environments, or differ within a stated tolerance."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import HEAD_ONLY, archived, arguments_of, checkout, draw_scenes, shell, stage, write_params

from facemask.data import shards
from facemask.data.sources import synthetic
from facemask.engines import litert

THREADS_TOLERANCE = 0.05  # of a probability, when all of the tiny network was trained on 1 thread and on 2
ALL_DIFFERENT = {
    "LOKY_MAX_CPU_COUNT": "1",
    "PYTHONHASHSEED": "1",
    "TZ": "Pacific/Chatham",
    "LC_ALL": "C",
    "LANG": "tr_TR.UTF-8",
    "COLUMNS": "40",
}
ENVIRONMENTS = {
    "one worker, another hash seed": {"LOKY_MAX_CPU_COUNT": "1", "PYTHONHASHSEED": "1"},
    "three workers, another time zone and locale": {
        "LOKY_MAX_CPU_COUNT": "3",
        "TZ": "Pacific/Chatham",
        "LC_ALL": "C",
        "LANG": "tr_TR.UTF-8",
    },
}


def files(folder: Path) -> dict[str, str]:
    """Every file of a folder, with its hash."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def run(name: str, folder: Path, **environment) -> None:
    done = stage(name, *arguments_of(name), folder=folder, **environment)
    assert done.returncode == 0, done.stderr


def prepared(folder: Path, **environment) -> dict[str, str]:
    """The hashes of all outputs of the stages before features on a tiny demo."""
    folder.mkdir()
    write_params(folder)
    for name in ("fetch", "survey", "split", "augment"):
        run(name, folder, **environment)
    return files(folder)


@pytest.fixture(scope="session")
def reference(tmp_path_factory) -> dict[str, str]:
    return prepared(tmp_path_factory.mktemp("reference") / "checkout", PYTHONHASHSEED="0")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_environment_does_not_change_the_prepared_data(environment, reference, tmp_path):
    folder = tmp_path / f"Ein längerer Pfad - {environment}"
    assert prepared(folder, **ENVIRONMENTS[environment]) == reference


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where the newest file is listed first; most disks list by a hash of the name."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_the_order_of_files_on_disk_or_in_a_zip_does_not_matter(memory, tmp_path):
    members = dict(synthetic.draw_member(index, 40) for index in range(60))
    photos = memory / "photos"
    listed, packed, made = [], [], []
    for order in ("rising", "falling"):
        names = sorted(members, reverse=order == "falling")
        shutil.rmtree(photos, ignore_errors=True)
        for name in names:
            (photos / name).parent.mkdir(parents=True, exist_ok=True)
            (photos / name).write_bytes(members[name])
        listed.append([path.name for path in photos.rglob("*")])
        folder = tmp_path / order
        folder.mkdir()
        write_params(folder, datasets=archived(photos))
        run("fetch", folder)
        packed.append((folder / "data/raw/photos.zip").read_bytes())
        with zipfile.ZipFile(folder / "data/raw/photos.zip", "w") as archive:
            for name in names:
                archive.writestr(name, members[name])
        for name in ("survey", "split"):
            run(name, folder)
        made.append({name: digest for name, digest in files(folder).items() if name != "data/raw/photos.zip"})
    assert listed[0] != listed[1]
    assert packed[0] == packed[1]
    assert made[0] == made[1]


@pytest.mark.slow
def test_two_checkouts_in_different_environments_have_the_same_lock(reproduced, pretrained, tmp_path):
    folder = tmp_path / "Ein längerer Pfad, mit Leerzeichen"
    folder.mkdir()
    shutil.copy(pretrained, folder)
    draw_scenes(folder / "scenes.zip", 20)
    checkout(folder, **HEAD_ONLY)
    shell("dvc", "repro", cwd=folder, **ALL_DIFFERENT)
    assert (folder / "dvc.lock").read_bytes() == (reproduced / "dvc.lock").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("train_from", "tolerance"), [("head", 0), ("input", THREADS_TOLERANCE)])
def test_the_number_of_threads_does_not_change_a_head_and_changes_a_whole_network_little(train_from, tolerance, copy):
    answers = []
    for threads in (1, 2):
        write_params(copy, **{**HEAD_ONLY, "train_from": train_from, "threads": threads})
        run("features", copy)
        run("train", copy)
        classify = litert.Runner((copy / "models/classifier.tflite").read_bytes())
        answers.append(classify(shards.array(copy / "data/shards", "test")))
    difference = np.abs(answers[0] - answers[1]).max()
    print(f"largest difference of a probability: {difference:.2g}")
    assert difference <= tolerance


def test_zips_of_outputs_do_not_depend_on_the_version_of_python(reproduced):
    """zipfile's flags for members whose size it does not know beforehand changed between versions."""
    for path in (reproduced / "models/trained.npz", reproduced / "models/backbone/backbone.keras"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                assert (member.extract_version, member.flag_bits, member.extra) == (20, 0, b""), (path, member)
    with np.load(reproduced / "models/trained.npz") as weights:
        assert weights["arr_0"].dtype == np.float32
