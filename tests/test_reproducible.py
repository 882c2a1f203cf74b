"""What must make no difference to a byte makes none; what does, makes a small one that is stated here."""

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

THREADS_TOLERANCE = 0.05  # of a probability, when all of the tiny network was trained on 1 thread and on 2
SEEN_TOGETHER = {
    "LOKY_MAX_CPU_COUNT": "1",
    "PYTHONHASHSEED": "1",
    "TZ": "Pacific/Chatham",
    "LC_ALL": "C",
    "LANG": "tr_TR.UTF-8",
    "COLUMNS": "40",
}
CIRCUMSTANCES = {
    "one worker": {"LOKY_MAX_CPU_COUNT": "1"},
    "three workers and another hash seed": {"LOKY_MAX_CPU_COUNT": "3", "PYTHONHASHSEED": "1"},
    "another place on earth": {"TZ": "Pacific/Chatham", "LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
}


def files(folder: Path) -> dict[str, str]:
    """Every file of a folder, with its hash."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def run(name: str, folder: Path, **environment) -> None:
    done = stage(name, *arguments_of(name), folder=folder, **environment)
    assert done.returncode == 0, done.stderr


def prepared(folder: Path, **environment) -> dict[str, str]:
    """The hashes of everything that the stages before augment make of a tiny demo."""
    folder.mkdir()
    write_params(folder)
    for name in ("fetch", "survey", "split"):
        run(name, folder, **environment)
    return files(folder)


@pytest.fixture(scope="session")
def usual(tmp_path_factory) -> dict[str, str]:
    return prepared(tmp_path_factory.mktemp("usual") / "checkout", PYTHONHASHSEED="0")


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
def test_it_makes_no_difference_who_prepares_the_data_or_where(circumstance, usual, tmp_path):
    folder = tmp_path / f"Ein längerer Pfad - {circumstance}"
    assert prepared(folder, **CIRCUMSTANCES[circumstance]) == usual


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: there the newest file is listed first, where most disks list by a hash of the name."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_the_order_of_files_on_disk_or_in_a_zip_makes_no_difference(memory, tmp_path):
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
def test_two_checkouts_in_all_different_circumstances_at_once_have_the_same_lock(reproduced, pretrained, tmp_path):
    folder = tmp_path / "Ein längerer Pfad, mit Leerzeichen"
    folder.mkdir()
    shutil.copy(pretrained, folder)
    draw_scenes(folder / "scenes.zip", 20)
    checkout(folder, **HEAD_ONLY)
    shell("dvc", "repro", cwd=folder, **SEEN_TOGETHER)
    assert (folder / "dvc.lock").read_bytes() == (reproduced / "dvc.lock").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("train_from", "tolerance"), [("head", 0), ("input", THREADS_TOLERANCE)])
def test_another_number_of_threads_changes_a_head_in_no_byte_and_a_whole_network_little(train_from, tolerance, copy):
    import keras

    answers = []
    for threads in (1, 2):
        write_params(copy, **{**HEAD_ONLY, "train_from": train_from, "threads": threads})
        run("features", copy)
        run("train", copy)
        model = keras.saving.load_model(copy / "models/model.keras")
        answers.append(model.predict(np.asarray(shards.array(copy / "data/shards", "test")), verbose=0))
    difference = np.abs(answers[0] - answers[1]).max()
    print(f"largest difference of a probability: {difference:.2g}")
    assert difference <= tolerance
