"""Slices and corruptions: accuracy on parts of the test split, by what a face is like and by what was done to it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import arguments_of, stage
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.data import images
from facemask.data.corruptions import CAMERA, KINDS, OCCLUSION, SEVERITIES, corrupt
from facemask.data.quality import measure
from facemask.data.slices import attributes, read_attributes
from facemask.data.sources.synthetic import draw_member
from facemask.evaluation.slices import accuracy, by_corruption, by_slice, corruption_accuracy

HEADER = "sha256,left,top,right,bottom"


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    """Synthetic faces, (64, 64, 3) uint8."""
    return [images.resize(images.decode(draw_member(number, 96)[1]), 64) for number in range(4)]


def predictions(right: list[int], groups: list[int] | None = None) -> pd.DataFrame:
    """Faces of the class a, right where 1, each in a group of its own unless groups are given."""
    table = pd.DataFrame({"label": "a", "predicted": ["a" if one else "b" for one in right]})
    return table.assign(group=[str(one) for one in groups or range(len(right))])


def test_a_slice_has_the_accuracy_of_its_faces_and_of_the_rest():
    table = by_slice(predictions([1] * 30 + [0, 1] * 15), pd.DataFrame({"light": np.arange(60)}), 7)
    assert table.slice.tolist() == ["below 19.7", "19.7 to 39.3", "from 39.3"]
    assert table.photos.tolist() == [20, 20, 20]
    assert table.accuracy.tolist() == [1.0, 0.75, 0.5]
    assert table.rest.tolist() == [0.625, 0.75, 0.875]
    assert table.below_rest.tolist() == [0, 0, 1]
    assert table.low[2] < 0.5 < table.high[2] < 0.875


def test_text_is_a_slice_a_value_and_who_has_none_is_in_no_slice():
    values = pd.DataFrame({"hat": ["yes", "", "no", "yes"], "same": "x", "one": [3.0] * 4})
    table = by_slice(predictions([1, 1, 0, 0]), values, 7)
    assert table[["attribute", "slice", "photos", "accuracy"]].to_numpy().tolist() == [
        ["hat", "no", 1, 0.0], ["hat", "yes", 2, 0.5],
    ]  # fmt: skip


def test_one_observation_has_no_interval():
    for table in (predictions([1]), predictions([1, 0, 1], groups=[5, 5, 5])):
        assert np.isnan([accuracy(table, 7)[end] for end in ("low", "high")]).all()
    assert by_slice(predictions([0, 1, 1]), pd.DataFrame({"hat": ["yes", "", ""]}), 7).below_rest.tolist() == [0]
    # Of a few photos none is right by chance, though the bootstrap interval has no width.
    for wrong, below in ((2, 0), (9, 1)):
        table = predictions([0] * wrong + [1, 0] * 30)
        hats = pd.DataFrame({"hat": ["yes"] * wrong + [""] * 60})
        assert by_slice(table, hats, 7).below_rest.tolist() == [below]


def test_attributes_of_faces_that_this_seed_leaves_out_are_no_error():
    faces = pd.DataFrame({"sha256": ["1", "2"], "left": 0, "top": 0, "right": 0, "bottom": 0})
    Path("attributes.csv").write_text(f"{HEADER},hat\n1,0,0,0,0,yes\n2,0,0,0,0,no\n")
    assert read_attributes(Path("attributes.csv"), faces[:1], [faces]).hat.tolist() == ["yes"]


def test_the_interval_of_near_duplicates_is_that_of_their_groups():
    alone, grouped = predictions([1, 0] * 30), predictions([1, 0] * 30, groups=[*np.repeat(range(10), 6)])
    mixed = grouped.assign(predicted=np.repeat(["a", "b"], 30))
    narrow, wide = (np.subtract(*[accuracy(table, 7)[end] for end in ("high", "low")]) for table in (alone, mixed))
    assert wide > 2 * narrow


def test_a_corruption_is_compared_with_the_same_faces_and_occlusion_with_unmasked_ones():
    faces = pd.DataFrame({"label": ["on", "on", "off", "off"], "group": list("abcd")})
    parts = [
        faces.assign(corruption="", severity=0, predicted=faces.label),
        faces.assign(corruption="fog", severity=1, predicted="on"),
        faces.assign(corruption="hand", severity=1, predicted=["off", "off", "on", "off"]),
        faces.assign(corruption="hand", severity=2, predicted="on"),
    ]
    table = by_corruption(pd.concat(parts), ["hand"], "off", 7)
    assert table[["corruption", "severity", "photos", "accuracy"]].to_numpy().tolist() == [
        ["fog", 0, 4, 1.0], ["fog", 1, 4, 0.5], ["hand", 0, 2, 1.0], ["hand", 1, 2, 0.5], ["hand", 2, 2, 0.0],
    ]  # fmt: skip
    assert corruption_accuracy(table) == pytest.approx((0.5 + 0.25) / 2)
    assert set(by_corruption(pd.concat(parts), ["hand"], "no such class", 7).corruption) == {"fog"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_is_a_square_of_the_same_size_and_worse_with_severity(kind, faces):
    changes = []
    for severity in SEVERITIES:
        changed = []
        for number, photo in enumerate(faces):
            before = photo.copy()
            made = corrupt(photo, kind, severity, np.random.default_rng(number))
            assert (made.shape, made.dtype) == (photo.shape, np.uint8)
            assert np.array_equal(photo, before)
            assert np.array_equal(made, corrupt(photo, kind, severity, np.random.default_rng(number)))
            changed.append(np.abs(made.astype(float) - photo).mean())
        changes.append(np.mean(changed))
    assert 0 < changes[0] < changes[1] < changes[2]


def test_occlusion_leaves_the_eyes_and_a_camera_changes_all(faces):
    for photo in faces:
        half = len(photo) // 2 - 2
        for kind in OCCLUSION:
            assert np.array_equal(corrupt(photo, kind, 3, np.random.default_rng(1))[: half // 2], photo[: half // 2])
        for kind in CAMERA:
            assert not np.array_equal(corrupt(photo, kind, 3, np.random.default_rng(1))[:half], photo[:half])


def test_brightness_and_sharpness_follow_the_photo(faces):
    for photo in faces:
        plain = measure(photo)
        assert measure(corrupt(photo, "darkness", 1, None)).brightness == pytest.approx(plain.brightness / 2, rel=0.02)
        assert measure(corrupt(photo, "defocus", 3, None)).sharpness < plain.sharpness / 2


def test_attributes_are_of_the_face_and_datasets_are_told_apart():
    rows = pd.DataFrame({"dataset": ["a", "a"], "width": [40, 60], "height": [80, 30]})
    squares = np.zeros((2, 8, 8, 3), np.uint8)
    table = attributes(rows, squares)
    assert table.columns.tolist() == ["size", "aspect", "brightness", "sharpness"]
    assert table["size"].tolist() == [40, 30]
    assert table.aspect.tolist() == [0.5, 2.0]
    assert attributes(rows.assign(dataset=["a", "b"]), squares).dataset.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (
            f"{HEADER},hat\n1,0,0,0,0,yes\n3,0,0,0,0,no\n",
            "attributes.csv, line 3: no face has this sha256 and this box",
        ),
        (f"{HEADER},hat\n1,0,0,0,0,yes\n1,0,0,0,0,no\n", "attributes.csv, line 3: an earlier line names this face"),
        ("sha256,hat\n1,yes\n", "attributes.csv has no column left; it needs sha256, left, top, right, bottom, and"),
        (f"{HEADER},size\n1,0,0,0,0,big\n", "attributes.csv: size is an attribute that is measured; give the column"),
        (
            f"{HEADER},hat\n1,0,0,0,0,yes,\n",
            "attributes.csv is no table in UTF-8 with commas: Length of header or names",
        ),
        ("", "attributes.csv is no table in UTF-8 with commas: No columns to parse from file"),
        (f"{HEADER},h\udce4t\n1,0,0,0,0,yes\n", "attributes.csv is no table in UTF-8 with commas: 'utf-8' codec"),
    ],
)
def test_a_table_of_attributes_that_does_not_fit_is_one_line(table, line):
    rows = pd.DataFrame({"sha256": ["1", "2"], "left": 0, "top": 0, "right": 0, "bottom": 0})
    Path("attributes.csv").write_bytes(table.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=line):
        read_attributes(Path("attributes.csv"), rows, [rows])


def test_the_size_of_a_photo_is_that_of_what_is_decoded(tmp_path):
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix in ("jpg", "png", "webp"):
            file = tmp_path / f"photo.{suffix}"
            Image.new("RGB", (400, 300)).save(file, exif=exif)
            content = file.read_bytes()
            assert images.size(content) == images.decode(content).size


def test_evaluate_scores_the_users_attributes_and_labels_as_given(reproduced, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(reproduced, copy, symlinks=True)
    table = read_csv(copy / "data/shards/test.csv")
    half = table.iloc[::2]
    lines = [f"{face.sha256},{face.left},{face.top},{face.right},{face.bottom},yes" for face in half.itertuples()]
    (copy / "attributes.csv").write_text("\n".join([f"{HEADER},hat", *lines, ""]))
    wrong = sorted(set(table.label) - {table.label[0]})[0]
    changed = table.assign(given=[wrong, *table.given[1:]])
    (copy / "data/shards/test.csv").unlink()
    changed.to_csv(copy / "data/shards/test.csv", index=False)
    for name in ("metrics/test.json", "metrics/scores.csv", "metrics/slices.csv", "models/decision.json"):
        (copy / name).unlink()
    # The class that decides by a threshold is another one than that on whose faces hands are drawn.
    (copy / "models/decision.json").write_text('{"label": "with_mask", "threshold": null}')
    done = stage("evaluate", *arguments_of("evaluate"), folder=copy)
    assert done.returncode == 0, done.stderr
    found = read_csv(copy / "metrics/slices.csv").query("attribute == 'hat'")
    assert found[["slice", "photos"]].to_numpy().tolist() == [["yes", len(half)]]
    scores = read_csv(copy / "metrics/scores.csv").query("score == 'accuracy'").set_index("test_set").value
    predicted = read_csv(copy / "metrics/predictions.csv").predicted
    assert scores["test"] == pytest.approx((predicted == changed.label).mean(), abs=1e-6)
    altered = read_csv(copy / "data/corrupted/test.csv").query("corruption == 'hand' and severity == 1")
    occluded = read_csv(copy / "metrics/corruptions.csv").query("corruption == 'hand' and severity == 1")
    assert occluded.photos.tolist() == [(altered.label == "without_mask").sum()]
    assert scores["test_as_given"] == pytest.approx((predicted == changed.given).mean(), abs=1e-6)
