"""augment: the same copies whoever makes them, and no seams."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import load_params, stage, write_params

from facemask.core.params import Section
from facemask.data import shards
from facemask.data.archive import write_archive
from facemask.data.augmentation import Augment, alter
from facemask.data.sources import synthetic
from stages.augment import generator

STILL = {
    name: False if name == "flip" else 0.0 for name in Augment.model_fields if name != "copies"
}  # fmt: skip


@pytest.fixture
def settings(tmp_path) -> Section:
    write_params(tmp_path)
    return load_params()


def digests(folder: str) -> str:
    return subprocess.run(f"cd {folder} && sha256sum *", shell=True, capture_output=True, text=True, check=True).stdout


def prepare(**changes) -> None:
    write_archive(Path("raw/synthetic.zip"), (synthetic.draw_member(index, 40) for index in range(60)))
    write_params(Path(), **changes)
    for call in (
        "survey raw=raw faces=faces.csv rejects=rejects.csv pairs=pairs.csv groups=groups.png",
        "split faces=faces.csv rejects=rejects.csv pairs=pairs.csv manifest=manifest.csv headlines=headlines.json "
        "details=data.json",
    ):
        done = stage(*call.split())
        assert done.returncode == 0, done.stderr


def augment(folder: str, **environment) -> None:
    done = stage(
        "augment", "raw=raw", "manifest=manifest.csv", f"pixels={folder}", f"sheet={folder}.png", **environment
    )
    assert done.returncode == 0, done.stderr


def test_the_number_of_workers_does_not_change_a_byte():
    prepare(augment__copies=2)
    augment("one", LOKY_MAX_CPU_COUNT="1")
    augment("three", LOKY_MAX_CPU_COUNT="3", PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C")
    assert digests("one") == digests("three")
    assert Path("one.png").read_bytes() == Path("three.png").read_bytes()


def test_only_training_photos_get_copies_and_each_photo_comes_first():
    prepare(augment__copies=2)
    augment("shards")
    manifest = pd.read_csv("manifest.csv")
    for split in shards.SPLITS:
        rows, pixels = shards.rows(Path("shards"), split), shards.array(Path("shards"), split)
        versions = 3 if split == "train" else 1
        assert len(rows) == len(pixels) == versions * (manifest.split == split).sum()
        assert rows["copy"].tolist() == list(range(versions)) * (len(rows) // versions)
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (32, 32, 3)
        faces = pixels.reshape(-1, versions, *pixels.shape[1:])
        assert all(len({version.tobytes() for version in face}) == versions for face in faces)


def test_a_copy_depends_on_seed_face_and_number(settings):
    photo = np.asarray(synthetic.draw_face(np.random.default_rng(0), "with_mask", 32))

    def drawn(seed: int, sha256: str, left: int, number: int) -> bytes:
        face = SimpleNamespace(sha256=sha256, left=left, top=0)
        return alter(photo, settings.augment, generator(seed, face, number)).tobytes()

    first = (1, "ab", 0, 1)
    assert drawn(*first) == drawn(*first)
    others = [(2, "ab", 0, 1), (1, "cd", 0, 1), (1, "ab", 5, 1), (1, "ab", 0, 2)]
    assert len({drawn(*key) for key in (first, *others)}) == 5


@pytest.mark.parametrize("seed", range(20))
def test_what_a_turn_uncovers_is_filled_from_the_photo(seed, settings):
    strong = settings.augment.model_copy(
        update=STILL | {"rotation": 45.0, "zoom": 0.4, "stretch": 0.2, "shift": 0.3, "shear": 20.0}
    )
    photo = np.full((32, 32, 3), 200, np.uint8)
    assert (alter(photo, strong, np.random.default_rng(seed)) == 200).all()


def test_nothing_asked_for_is_nothing_changed(settings):
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert np.array_equal(alter(photo, settings.augment.model_copy(update=STILL), np.random.default_rng(1)), photo)


def test_flip_mirrors_half_of_the_copies(settings):
    flip = settings.augment.model_copy(update=STILL | {"flip": True})
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    mirrored = sum(np.array_equal(alter(photo, flip, np.random.default_rng(n)), photo[:, ::-1]) for n in range(200))
    assert 70 < mirrored < 130


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_light_changes_what_it_says_and_no_more(name, settings):
    photo = np.random.default_rng(0).integers(60, 190, (32, 32, 3), np.uint8)
    rng = np.random.default_rng(2)
    altered = [alter(photo, settings.augment.model_copy(update=STILL | {name: 0.3}), rng) for _ in range(20)]
    grey = photo @ np.array([0.299, 0.587, 0.114])
    greys = [one @ np.array([0.299, 0.587, 0.114]) for one in altered]
    assert len({one.tobytes() for one in altered}) > 15
    if name == "brightness":
        assert all(np.abs(one - grey * one.mean() / grey.mean()).max() < 2 for one in greys)
    else:
        assert all(one.mean() == pytest.approx(grey.mean(), abs=1) for one in greys)
    if name == "saturation":
        assert all(np.abs(one - grey).max() < 2 for one in greys)


@pytest.mark.parametrize("name", ["grey", "low_resolution", "jpeg", "erase"])
def test_a_probability_is_how_often_a_copy_is_degraded(name, settings):
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    half = settings.augment.model_copy(update=STILL | {name: 0.5})
    copies = [alter(photo, half, np.random.default_rng(n)) for n in range(200)]
    assert 70 < sum(not np.array_equal(copy, photo) for copy in copies) < 130
    assert {(copy.shape, copy.dtype) for copy in copies} == {((32, 32, 3), np.dtype(np.uint8))}


def test_erasing_hides_one_rectangle_in_one_colour(settings):
    photo = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    for n in range(20):
        copy = alter(photo, settings.augment.model_copy(update=STILL | {"erase": 1.0}), np.random.default_rng(n))
        rows, columns = np.nonzero((copy != photo).any(axis=2))
        hidden = copy[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(hidden.reshape(-1, 3), axis=0)) == 1
        assert 0.03 < hidden.shape[0] * hidden.shape[1] / 100**2 < 0.25
