"""augment: the same samples on any number of workers, and transforms within their limits."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import SURVEY, load_params, stage, write_params
from PIL import Image

from facemask.core.params import Section
from facemask.data import shards
from facemask.data.archive import write_archive
from facemask.data.augmentation import Augment, alter, occlude
from facemask.data.occluders import HARD_NEGATIVES
from facemask.data.preparation import generator
from facemask.data.sources import synthetic

PLAIN = {
    name: False if name == "flip" else 0.0 for name in Augment.model_fields if name != "copies"
}  # fmt: skip


@pytest.fixture
def settings(tmp_path) -> Section:
    write_params(tmp_path)
    return load_params()


def prepare(**changes) -> None:
    write_archive(Path("raw/synthetic.zip"), (synthetic.draw_member(index, 40) for index in range(60)))
    write_params(Path(), **changes)
    split = (
        "faces=faces.csv rejects=rejects.csv pairs=pairs.csv manifest=manifest.csv headlines=h.json details=data.json"
    )
    for name, arguments in (("survey", SURVEY), ("split", split.split())):
        done = stage(name, *arguments)
        assert done.returncode == 0, done.stderr


def augment(folder: str, **environment) -> None:
    done = stage(
        "augment",
        "raw=raw",
        "manifest=manifest.csv",
        f"pixels={folder}",
        f"record={folder}.json",
        f"sheet={folder}.png",
        **environment,
    )
    assert done.returncode == 0, done.stderr


def test_only_training_photos_are_augmented_and_each_original_comes_first():
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


def test_an_augmented_sample_depends_on_seed_face_and_number(settings):
    photo = np.asarray(synthetic.draw_face(np.random.default_rng(0), "with_mask", 32))

    def sample(seed: int, sha256: str, left: int, number: int) -> bytes:
        face = SimpleNamespace(sha256=sha256, left=left, top=0)
        return alter(photo, settings.augment, generator(seed, face, number)).tobytes()

    first = (1, "ab", 0, 1)
    assert sample(*first) == sample(*first)
    others = [(2, "ab", 0, 1), (1, "cd", 0, 1), (1, "ab", 5, 1), (1, "ab", 0, 2)]
    assert len({sample(*key) for key in (first, *others)}) == 5


@pytest.mark.parametrize("seed", range(20))
def test_pixels_from_outside_are_filled_by_reflection(seed, settings):
    strong = settings.augment.model_copy(
        update=PLAIN | {"rotation": 45.0, "zoom": 0.4, "stretch": 0.2, "shift": 0.3, "shear": 20.0}
    )
    photo = np.full((32, 32, 3), 200, np.uint8)
    assert (alter(photo, strong, np.random.default_rng(seed)) == 200).all()


def test_without_transforms_the_photo_is_unchanged(settings):
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    assert np.array_equal(alter(photo, settings.augment.model_copy(update=PLAIN), np.random.default_rng(1)), photo)


def test_half_of_the_augmented_samples_are_flipped_horizontally(settings):
    flip = settings.augment.model_copy(update=PLAIN | {"flip": True})
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    flipped = sum(np.array_equal(alter(photo, flip, np.random.default_rng(n)), photo[:, ::-1]) for n in range(200))
    assert 70 < flipped < 130


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_a_colour_transform_changes_only_its_own_property(name, settings):
    photo = np.random.default_rng(0).integers(60, 190, (32, 32, 3), np.uint8)
    rng = np.random.default_rng(2)
    altered = [alter(photo, settings.augment.model_copy(update=PLAIN | {name: 0.3}), rng) for _ in range(20)]
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
def test_samples_are_degraded_with_the_given_probability(name, settings):
    photo = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    half = settings.augment.model_copy(update=PLAIN | {name: 0.5})
    samples = [alter(photo, half, np.random.default_rng(n)) for n in range(200)]
    assert 70 < sum(not np.array_equal(sample, photo) for sample in samples) < 130
    assert {(sample.shape, sample.dtype) for sample in samples} == {((32, 32, 3), np.dtype(np.uint8))}


def test_compression_keeps_the_colours(settings):
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[..., 0] = np.where(np.arange(64) // 2 % 2, 255, 0)  # stripes of red and black
    sample = alter(photo, settings.augment.model_copy(update=PLAIN | {"jpeg": 1.0}), np.random.default_rng(0))
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, "JPEG", quality=50)
    expected = np.asarray(Image.open(encoded)).astype(int)
    swapped = io.BytesIO()
    Image.fromarray(photo[..., ::-1].copy()).save(swapped, "JPEG", quality=50)
    other = np.asarray(Image.open(swapped))[..., ::-1].astype(int)
    assert np.abs(sample - expected).mean() < np.abs(sample - other).mean()


def test_random_erasing_fills_one_rectangle_with_one_colour(settings):
    photo = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    for n in range(20):
        sample = alter(photo, settings.augment.model_copy(update=PLAIN | {"erase": 1.0}), np.random.default_rng(n))
        rows, columns = np.nonzero((sample != photo).any(axis=2))
        hidden = sample[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(hidden.reshape(-1, 3), axis=0)) == 1
        assert 0.03 < hidden.shape[0] * hidden.shape[1] / 100**2 < 0.25


@pytest.mark.parametrize("draw", HARD_NEGATIVES, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("size", [32, 224])
def test_a_hard_negative_is_drawn_on_the_lower_face_and_each_differs(draw, size):
    grey = np.full((size, size, 3), 128, np.uint8)
    drawn = [draw(grey, np.random.default_rng(n)) for n in range(20)]
    for pixels in drawn:
        assert (pixels.shape, pixels.dtype) == (grey.shape, np.uint8)
        changed = (pixels != grey).any(axis=2)
        assert not changed[: size // 4].any()
        assert 0.02 < changed.mean() < 0.45
    assert len({pixels.tobytes() for pixels in drawn}) == 20
    assert (grey == 128).all()
    np.testing.assert_array_equal(draw(grey, np.random.default_rng(3)), drawn[3])


def test_unmasked_faces_alone_become_hard_negatives_as_often_as_told(settings):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)

    def changed(label: str, probability: float) -> int:
        augment = settings.augment.model_copy(update={"occlude": probability, "unmasked": "bare"})
        return sum((occlude(photo, label, augment, np.random.default_rng(n)) != photo).any() for n in range(400))

    assert changed("masked", 1.0) == changed("bare", 0.0) == 0
    assert changed("bare", 1.0) == 400
    assert 70 < changed("bare", 0.25) < 130


def test_hard_negatives_of_a_class_that_no_face_has_are_one_clear_line():
    prepare(augment__occlude=0.5, augment__unmasked="bare")
    done = stage(
        "augment", "raw=raw", "manifest=manifest.csv", "pixels=shards", "record=shards.json", "sheet=sheet.png"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "augment: augment.unmasked: no face is bare; the classes are incorrect_mask, with_mask, without_mask"
    )
