"""Scenes: drawn the same every time, judged with a reason, squared, split by group, altered with their boxes."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, marked, stage
from PIL import Image

from facemask.core import params
from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.data import pascal_voc, scene_augmentation, scenes, shards
from facemask.data.archive import Archive, write_archive
from facemask.data.letterbox import GREY, letterbox
from facemask.data.scene_augmentation import SceneAugment, alter, fitted, mosaic, paste
from facemask.data.sources import synthetic_scenes
from stages.detection.scenes import check

STILL = {"mosaic": 0, "mosaic_off": 0, "zoom": 0, "flip": False, "paste": 0, "brightness": 0, "contrast": 0,
         "saturation": 0, "grey": 0}  # fmt: skip


def png(seed: int = 0, width: int = 60, height: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_scene_depends_on_its_seed_and_number_alone():
    one, again = (synthetic_scenes.draw_members(5, seed=3, size=128) for _ in range(2))
    assert one == again
    assert one != synthetic_scenes.draw_members(5, seed=4, size=128)


def test_scenes_have_faces_of_all_classes_and_sizes_and_some_have_none():
    drawn = [synthetic_scenes.draw_scene(0, number, 160) for number in range(25)]
    counts = [len(faces) for _, faces in drawn]
    assert min(counts) == 0
    assert max(counts) >= 4
    heights = [face.box.bottom - face.box.top for _, faces in drawn for face in faces]
    assert min(heights) < 24
    assert max(heights) > 80
    assert {face.label for _, faces in drawn for face in faces} == set(synthetic_scenes.FRACTIONS)
    for scene, faces in drawn:
        assert all(face.box == face.box.within(*scene.size) for face in faces)


def test_the_annotation_of_a_scene_says_its_faces():
    scene, faces = synthetic_scenes.draw_scene(0, 3, 160)
    xml = synthetic_scenes.annotation("3.jpg", scene, faces)
    assert pascal_voc.parse(xml, scene.size) == [(face.label, face.box) for face in faces]


def test_a_photo_is_squared_at_its_upper_left():
    photo = Image.new("RGB", (80, 40), "red")
    pixels, scale = letterbox(photo, 40)
    assert scale == 0.5
    assert (pixels[:20] == (255, 0, 0)).all()
    assert (pixels[20:] == GREY).all()


BROKEN = {
    "outside": marked(("on", 100, 5, 120, 20)),
    "zero": marked(("on", 10, 10, 10, 30)),
    "stranger": marked(("beard", 5, 5, 20, 20)),
    "noxml": b"<annotation",
    "words": b"<annotation><object><name>on</name><bndbox><xmin>a</xmin></bndbox></object></annotation>",
}


@pytest.fixture
def looked_at() -> Path:
    """What the stage makes of ten good scenes, two near-duplicates among them, and of broken ones."""
    members = []
    for number in range(10):
        scene = Image.fromarray(
            np.random.default_rng(number // 2 if number < 2 else number).integers(0, 255, (12, 12, 3), np.uint8)
        )
        file = io.BytesIO()
        scene.resize((120 + number, 90), Image.Resampling.BICUBIC).save(file, "PNG")
        members += [(f"images/{number}.png", file.getvalue())]
        members += [(f"annotations/{number}.xml", marked(("on", 5, 5, 40, 45), ("off", 60, 10, 200, 50)))]
    for name, xml in BROKEN.items():
        members += [(f"images/{name}.png", png(99)), (f"annotations/{name}.xml", xml)]
    members += [("images/alone.png", png(98)), ("annotations/stray.xml", marked()), ("readme.txt", b"x")]
    members += [("images/empty.png", png(97)), ("annotations/empty.xml", marked())]
    write_archive(Path("some.zip"), members)
    Path("detection").mkdir()
    tree = params.read(ROOT / "detection/params.yaml") | {
        "datasets": {"some": {"use": "split", "source": "archive", "path": str(Path("some.zip").absolute())}},
        "scenes": {"classes": {"on": [], "off": []}, "near_duplicates": 0.92, "max_rejected": 0.5},
        "split": {"train": 0.4, "validation": 0.3, "test": 0.3},
        "image_size": 64,
    }  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump(tree))
    done = stage("fetch", "parameters=params.yaml", "raw=raw")
    assert done.returncode == 0, done.stderr
    done = stage(
        "detection.scenes", "parameters=params.yaml", "raw=raw", "pixels=pixels", "manifest=manifest.csv",
        "rejects=rejects.csv", "headlines=data.json", "details=details.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path()


def test_scenes_that_cannot_be_used_for_any_reason_count_as_rejected():
    rejects = pd.DataFrame({"member": "1.png", "kind": ["of another class", "outside", "no photo"], "reason": "why"})
    check(98, rejects, 0.02)
    with pytest.raises(UserError, match=r"^97 scenes .* 2 photos rejected, scenes.max_rejected allows 2.0%; "):
        check(97, rejects, 0.02)


def test_scenes_are_judged_grouped_split_and_squared(looked_at):
    rejects = read_csv(looked_at / "rejects.csv")
    kinds = {Path(row.member).stem: row.kind for row in rejects.itertuples()}
    assert kinds == {
        "outside": "outside", "zero": "without area", "stranger": "of another class", "noxml": "unreadable",
        "words": "unreadable", "alone": "unmarked", "stray": "no photo", "readme": "no photo",
    }  # fmt: skip
    reasons = rejects.set_index(rejects.member.map(lambda name: Path(name).stem)).reason
    assert reasons.outside == "a face marked at (100, 5, 120, 20) in a photo of 60 x 40 pixels"
    assert reasons.stranger == "one is marked 'beard', and would count as background"
    assert reasons.noxml.startswith("no PASCAL VOC annotation: ")
    manifest = read_csv(looked_at / "manifest.csv")
    assert "images/stranger.png" not in set(manifest.member)
    assert manifest.groupby("group").split.nunique().max() == 1
    alike = manifest[manifest.member.isin(["images/0.png", "images/1.png"])]
    assert len(set(alike.group)) == 1
    assert set(manifest.label[manifest.member == "images/empty.png"]) == {"no face"}
    for split in shards.SPLITS:
        table, found = shards.rows(looked_at / "pixels", split), scenes.read_faces(looked_at / "pixels", split)
        squares = shards.array(looked_at / "pixels", split)
        assert squares.shape == (len(table), 64, 64, 3)
        assert set(found.label) == {"on", "off"}
        assert (found.right[found.label == "off"] <= table.width.to_numpy()[found.scene[found.label == "off"]]).all()
    assert json.loads((looked_at / "data.json").read_text()) == {"faces": 20, "rejects": 8, "scenes": 11}


def scene_of(*boxes: tuple, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A grey scene in which faces (class, left, top, right, bottom) are as bright as their class says."""
    pixels = np.full((side, side, 3), 10, np.uint8)
    for kind, left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 100 + 50 * kind
    return pixels, np.array(boxes, np.float32).reshape(-1, 5)


def where_bright(pixels: np.ndarray, face: np.ndarray) -> bool:
    """Whether a face's box holds its colour and nothing about it does."""
    kind, left, top, right, bottom = face.round().astype(int)
    bright = np.abs(pixels[..., 0].astype(int) - (100 + 50 * kind)) < 25
    inside = bright[top + 1 : bottom - 1, left + 1 : right - 1].all()
    return bool(inside and not bright[top:bottom, max(0, left - 3) : max(0, left - 2)].any())


@pytest.mark.parametrize("seed", range(6))
def test_boxes_move_with_their_faces(seed):
    rng = np.random.default_rng(seed)
    augment = SceneAugment(**STILL | {"flip": True, "zoom": 0.4})
    pixels, faces = fitted(*scene_of((0, 5, 8, 25, 28), (1, 35, 30, 60, 55)), 64, 64, augment, rng)
    assert len(faces) >= 1
    assert all(where_bright(pixels, face) for face in faces)
    scenes_ = [scene_of((number % 2, 10 + number, 12, 50, 50 - number)) for number in range(4)]
    pixels, faces = mosaic(scenes_, augment, rng)
    assert pixels.shape == (64, 64, 3)
    assert all(where_bright(pixels, face) for face in faces)


def test_a_face_that_the_edge_cuts_is_cut_or_left_out():
    faces = np.array([[0, -10, 0, 10, 20], [1, -30, 0, 10, 20], [1, 62, 0, 64, 2]], np.float32)
    assert scene_augmentation.visible(faces, 0, 0, 64, 64).tolist() == [[0, 0, 0, 10, 20]]


def test_pasted_faces_lie_on_no_other_face_and_are_marked():
    scene, other = scene_of((0, 2, 2, 20, 20)), scene_of((1, 20, 20, 36, 36))
    pasted = [paste(*scene, other, np.random.default_rng(seed)) for seed in range(20)]
    assert {len(faces) for _, faces in pasted} == {1, 2}
    for pixels, faces in pasted:
        for face in faces[1:]:
            x, y = ((face[1:3] + face[3:]) / 2).astype(int)
            assert abs(int(pixels[y, x, 0]) - 150) < 30
            assert scene_augmentation.covered(faces[:1], face[1:]) == 0


def test_a_face_whose_surroundings_hold_another_is_not_pasted():
    """The other one would be background."""
    pixels, rng = np.full((200, 200, 3), 128, np.uint8), np.random.default_rng(0)
    alone, pair = np.array([[0, 20, 20, 40, 45]], np.float32), np.array([[0, 20, 20, 40, 45], [1, 38, 25, 46, 35]])
    count = [sum(len(paste(pixels, alone[:0], (pixels, one), rng)[1]) for _ in range(50)) for one in (alone, pair[:1])]
    assert min(count) == 50
    labels = [paste(pixels, alone[:0], (pixels, pair.astype(np.float32)), rng)[1][:, 0] for _ in range(50)]
    assert set(np.concatenate(labels)) == {1}


def test_a_smaller_scene_is_averaged_as_by_letterbox():
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    small, _ = fitted(pixels, np.zeros((0, 5), np.float32), 32, 32, SceneAugment(**STILL), np.random.default_rng(0))
    boxed, _ = letterbox(Image.fromarray(pixels), 32)
    assert small.std() < 1.6 * np.asarray(boxed).std()


def test_without_augmentation_a_scene_stays_as_it_is_and_with_it_depends_on_the_generator():
    scene = scene_of((0, 5, 8, 25, 28))
    pixels, faces = alter(scene, [scene] * 4, SceneAugment(**STILL), True, np.random.default_rng(0))
    np.testing.assert_array_equal(pixels, scene[0])
    np.testing.assert_array_equal(faces, scene[1])
    augment = SceneAugment(**STILL | {"mosaic": 0.5, "zoom": 0.3, "paste": 0.5, "brightness": 0.3})
    one, again, other = (alter(scene, [scene] * 4, augment, True, np.random.default_rng(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[0], other[0])


def test_faces_of_a_shard_are_given_in_pixels_of_the_square():
    table = pd.DataFrame({"scale": [0.5, 2.0]})
    faces = pd.DataFrame([(1, "b", 1, 2, 3, 4)], columns=scenes.FACE)
    empty, one = scenes.arrays(table, faces, ["a", "b"])
    assert empty.shape == (0, 5)
    assert one.tolist() == [[1, 2, 4, 6, 8]]


def test_the_archive_of_drawn_scenes_pairs_photos_and_annotations():
    dataset = synthetic_scenes.SyntheticScenes(use="split", source="synthetic_scenes", images=10, size=64)
    synthetic_scenes.fetch(dataset, Path("scenes.zip"))
    with Archive(Path("scenes.zip")) as archive:
        photos, strays = pascal_voc.paired(archive.names)
    assert len(photos) == 10
    assert all(annotation for _, annotation in photos)
    assert not strays
