"""survey: every photo is a face, several faces, or a reject with its reason."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import marked, stage, write_params
from test_split import encoded, photo

from facemask.core.errors import UserError
from facemask.data.archive import simple, write_archive
from facemask.data.images import cut_out
from facemask.data.pascal_voc import Box, parse
from facemask.data.sources import synthetic
from stages.survey import folder_class


@pytest.mark.parametrize("name", ["WithMask", "with_mask", "With Mask", "WITH-MASK"])
def test_a_class_folder_may_be_spelt_as_people_spell_it(name):
    aliases = {simple("with_mask"): "with_mask"}
    assert folder_class(f"data/{name}/1.jpg", aliases) == "with_mask"
    assert folder_class(f"{name}.jpg", aliases) is None


def survey(members: list[tuple[str, bytes]], **changes) -> tuple[pd.DataFrame, pd.DataFrame]:
    write_archive(Path("raw/photos.zip"), members)
    write_params(Path(), **changes)
    done = stage("survey", "raw=raw", "faces=faces.csv", "rejects=rejects.csv", "groups=groups.png")
    assert done.returncode == 0, done.stderr
    return pd.read_csv("faces.csv"), pd.read_csv("rejects.csv")


def scene(number: int):
    """Two faces side by side, 100 pixels each."""
    left, right = (synthetic.draw_face(np.random.default_rng([number, n]), "with_mask", 100) for n in range(2))
    both = left.resize((200, 100))
    both.paste(left, (0, 0))
    both.paste(right, (100, 0))
    return both


def test_marked_faces_are_cut_out_of_their_scene_and_stay_together():
    members = []
    for number in range(6):
        faces = [("with_mask", 10, 10, 90, 90), ("mask_weared_incorrect", 110, 10, 190, 90)]
        faces += [("without_mask", 0, 0, 20, 40), ("dog", 0, 0, 90, 90)]
        members += [
            (f"images/{number}.png", encoded(scene(number), "PNG")),
            (f"annotations/{number}.xml", marked(*faces)),
        ]
    faces, rejects = survey(members, survey__margin=0.1)
    assert len(faces) == 12
    assert set(faces.label) == {"with_mask", "incorrect_mask"}
    assert faces.groupby("member").group.nunique().max() == 1
    first = faces.iloc[0]
    assert (first.left, first.top, first.right, first.bottom) == (2, 2, 98, 98)
    assert rejects.kind.value_counts().to_dict() == {"too small": 6, "of another class": 6}
    assert rejects.reason[rejects.kind == "too small"].iloc[0] == "a face of 20 pixels; survey.min_size is 32"
    pixels = cut_out(members[0][1], (0, 0, 100, 100), 100)
    assert np.array_equal(pixels, np.asarray(scene(0))[:, :100])


def test_a_photo_without_its_annotation_needs_a_class_folder():
    members = [("images/1.png", encoded(scene(1), "PNG")), ("annotations/1.xml", marked(("with_mask", 0, 0, 99, 99)))]
    faces, rejects = survey([*members, ("images/2.png", photo(2))], survey__max_rejected=0.9)
    assert faces.member.tolist() == ["images/1.png"]
    assert rejects.kind.tolist() == ["unlabelled"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xml",
        b"<annotation><object><name>x</name></object></annotation>",
        b"<annotation><object><name>x</name><bndbox><xmin>1e999</xmin></bndbox></object></annotation>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><annotation><object><name>&e;</name></object></annotation>',
    ],
    ids=["empty", "text", "no box", "endless", "entity"],
)
def test_a_file_that_is_no_annotation_is_a_reject_with_the_reason(content):
    with pytest.raises(UserError, match=r"^no PASCAL VOC annotation: "):
        parse(content)
    good = [("images/1.png", encoded(scene(1), "PNG")), ("images/1.xml", marked(("with_mask", 0, 0, 99, 99)))]
    bad = [("images/2.png", encoded(scene(2), "PNG")), ("images/2.xml", content)]
    _, rejects = survey(good + bad, survey__max_rejected=0.9)
    assert rejects.kind.tolist() == ["unreadable"]


def test_a_box_is_widened_as_far_as_the_photo_goes():
    assert Box(10, 20, 30, 60).widened(0.5, 100, 70) == (0, 0, 40, 70)
    assert Box(10, 20, 30, 60).widened(0, 100, 100) == (10, 20, 30, 60)
    assert Box(90, 80, 200, 60).widened(0, 100, 70) == (90, 70, 100, 60)


def test_of_a_face_only_what_is_in_the_photo_counts():
    outside = [("with_mask", 300, 10, 400, 90), ("with_mask", -80, 10, 20, 90), ("with_mask", 60, 0, 20, 90)]
    scenes = [("1.png", encoded(scene(1), "PNG")), ("1.xml", marked(("with_mask", -5, -5, 90, 90), *outside))]
    faces, rejects = survey(scenes)
    assert faces[["left", "top"]].to_numpy().tolist() == [[0, 0]]
    assert rejects.kind.tolist() == ["too small"] * 3


def test_the_nearest_of_several_annotations_counts_and_of_two_at_the_same_distance_none():
    face = marked(("with_mask", 0, 0, 99, 99))
    none = marked(("dog", 0, 0, 99, 99))
    near = [("a/images/1.png", encoded(scene(1), "PNG")), ("a/marks/1.xml", face), ("b/marks/1.xml", none)]
    faces, _ = survey(near)
    assert faces.member.tolist() == ["a/images/1.png"]
    with pytest.raises(AssertionError, match=r"survey: a/marks/1.xml and a/more/1.xml may both mark the faces of"):
        survey([*near, ("a/more/1.xml", none)])


def test_scenes_without_a_usable_face_are_one_line_that_says_what_was_marked():
    scenes = [("1.png", encoded(scene(1), "PNG")), ("1.xml", marked(("face_mask", 0, 0, 99, 99)))]
    with pytest.raises(AssertionError, match=r"no marked face can be used \(1 of another class; .*'face_mask'\)"):
        survey(scenes)
