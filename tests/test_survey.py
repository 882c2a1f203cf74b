"""survey: every photo is a face, several faces, or a reject with its reason."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SURVEY, load_params, marked, stage, write_params
from PIL import Image
from test_split import encoded, photo

from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.data.archive import Archive, write_archive
from facemask.data.examination import read
from facemask.data.faces import aliases_of, folder_class, simple
from facemask.data.images import cut_out
from facemask.data.near_duplicates.features import extract, grey
from facemask.data.pascal_voc import Box, paired, parse
from facemask.data.sources import synthetic
from facemask.evaluation import figures


@pytest.mark.parametrize("name", ["WithMask", "with_mask", "With Mask", "WITH-MASK"])
def test_a_class_folder_may_be_spelt_as_people_spell_it(name):
    aliases = {simple("with_mask"): "with_mask"}
    assert folder_class(f"data/{name}/1.jpg", aliases) == "with_mask"
    assert folder_class(f"{name}.jpg", aliases) is None


def test_the_innermost_folder_that_names_a_class_counts():
    aliases = aliases_of({"with_mask": [], "without_mask": []})
    assert folder_class("with_mask/without_mask/more/1.jpg", aliases) == "without_mask"


def test_a_name_is_the_same_however_its_accents_are_composed_and_a_sign_is_a_name():
    aliases = aliases_of({"masqu\u00e9": [], "+": [], "-": [], "__": []})
    assert folder_class("MASQUE\u0301/1.jpg", aliases) == "masqu\u00e9"
    assert folder_class("masque/1.jpg", aliases) is None
    assert [folder_class(f"{sign}/1.jpg", aliases) for sign in ("+", "-", "__")] == ["+", "-", "__"]


def survey(members: list[tuple[str, bytes]], **changes) -> tuple[pd.DataFrame, pd.DataFrame]:
    write_archive(Path("raw/photos.zip"), members)
    write_params(Path(), **changes)
    done = stage("survey", *SURVEY)
    assert done.returncode == 0, done.stderr
    return pd.read_csv("faces.csv"), pd.read_csv("rejects.csv")


def examined(members: list[tuple[str, bytes]], **changes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What survey reads in an archive, without the groups."""
    write_archive(Path("raw.zip"), members)
    write_params(Path(), **changes)
    with Archive(Path("raw.zip")) as archive:
        faces, rejects = read("photos", archive, load_params().survey)
    return pd.DataFrame(faces), pd.DataFrame(rejects, columns=["dataset", "member", "kind", "reason"])


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


def test_a_face_has_its_label_its_place_the_hash_of_its_file_and_the_features_of_its_cut_out():
    image = encoded(scene(3), "PNG")
    boxes = [("With Mask", 10, 10, 90, 90), ("dog", 0, 0, 90, 90), ("with_mask", 110, 20, 190, 80)]
    faces, rejects = examined([("a.png", image), ("a.xml", marked(*boxes))], survey__margin=0.1)
    assert faces.drop(columns="features").to_dict("records") == [
        {"dataset": "photos", "member": "a.png", "label": "with_mask", "sha256": hashlib.sha256(image).hexdigest(),
         "left": left, "top": top, "right": right, "bottom": bottom, "width": width, "height": height}
        for left, top, right, bottom, width, height in [(2, 2, 98, 98, 80, 80), (102, 14, 198, 86, 80, 60)]
    ]  # fmt: skip
    for face in faces.itertuples():
        alone = scene(3).crop((face.left, face.top, face.right, face.bottom))
        assert np.array_equal(face.features, extract(grey(alone)))
    assert rejects.to_numpy().tolist() == [["photos", "a.png", "of another class", "a face marked 'dog'"]]


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
        b"<svg/>",
        b"<annotation><object><name>x</name></object></annotation>",
        b"<annotation><object><name>x</name><bndbox><xmin>1e999</xmin></bndbox></object></annotation>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><annotation><object><name>&e;</name></object></annotation>',
        b'<?xml version="1.0" encoding="klingon"?><annotation/>',
        b'<?xml version="1.0" encoding="utf-7"?><annotation/>',
        b'<?xml version="1.0" encoding="idna"?><annotation/>',
        b"<a>" * 100_000 + b"</a>" * 99_999,
    ],
    ids=["empty", "text", "picture", "no box", "endless", "entity", "unknown encoding", "utf-7", "idna", "deep"],
)
def test_a_file_that_is_no_annotation_is_a_reject_with_the_reason(content):
    with pytest.raises(UserError, match=r"^no PASCAL VOC annotation: "):
        parse(content, (100, 100))
    _, rejects = examined([("images/2.png", encoded(scene(2), "PNG")), ("images/2.xml", content)])
    assert rejects.kind.tolist() == ["unreadable"]


def test_an_annotation_of_a_photo_before_it_was_resized_or_turned_is_a_reject():
    photo = Image.new("RGB", (60, 40))
    for width, height, kinds in ((60, 40, []), (0, 0, []), (600, 400, ["unreadable"]), (40, 60, ["unreadable"])):
        size = f"<size><width>{width}</width><height>{height}</height></size><object>".encode()
        annotation = marked(("with_mask", 2, 2, 38, 38)).replace(b"<object>", size)
        _, rejects = examined([("1.png", encoded(photo, "PNG")), ("1.xml", annotation)])
        assert rejects.kind.tolist() == kinds
    assert rejects.reason.item() == "marked in a photo of 40 x 60 pixels, and this has 60 x 40"


def test_the_picture_says_so_if_no_photo_has_a_near_duplicate():
    figures.groups([], Path("groups.png"))
    pixels = np.asarray(Image.open("groups.png").convert("L"))
    assert pixels.min() < 100
    assert pixels[:, -10:].min() == 255, "the sentence ends within the picture"


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


@pytest.mark.parametrize("photos", [("with_mask/3.jpg", "without_mask/3.jpg"), ("a/3.jpg", "a/3.png")])
def test_an_annotation_that_may_mark_two_photos_is_refused(photos):
    with pytest.raises(UserError, match=f"^notes/3.xml may mark the faces of both {photos[0]} and {photos[1]}; move"):
        paired([*photos, "notes/3.xml"])


def test_an_annotation_marks_the_nearest_photo_alone_and_is_found_by_a_name_in_other_accents():
    photos, strays = paired(["a/1.jpg", "b/1.jpg", "a/1.xml", "c/\u00e9", "c/e\u0301.xml", "d/2.xml", "d/2.txt"])
    assert photos == [("a/1.jpg", "a/1.xml"), ("b/1.jpg", None), ("c/\u00e9", "c/e\u0301.xml"), ("d/2.txt", None)]
    assert strays == ["d/2.xml"]


def test_a_face_of_the_least_side_is_used_and_one_of_a_pixel_less_is_not():
    faces = ("with_mask", 0, 0, 32, 60), ("without_mask", 100, 0, 160, 31)
    found, rejects = examined([("1.png", encoded(scene(1), "PNG")), ("1.xml", marked(*faces))], survey__min_size=32)
    assert found.label.tolist() == ["with_mask"]
    assert rejects.kind.tolist() == ["too small"]


def test_every_file_is_a_face_or_listed_with_the_reason_or_marks_one_that_is():
    jpeg, png = photo(1, "JPEG"), encoded(scene(1), "PNG")
    photos = ["a.jfif", "b.jpe", "c", "d.JPG", "e.photo", "f.bmp", "g.2021-03-01"]
    members = [(f"with mask/{name}", jpeg) for name in photos]
    members += [("scenes/1.png", png), ("scenes/1.xml", marked(("with_mask", 0, 0, 90, 90)))]
    rejected = {
        "with_mask/notes.txt": (b"two photos are missing", "no photo"),
        "with_mask/.gitkeep": (b"", "no photo"),
        "with_mask/film.mp4": (bytes(4) + b"ftypisom", "no photo"),
        "with_mask/h.jpg": (b"", "unreadable"),
        "with_mask/i.heic": (bytes(4) + b"ftypheic", "unreadable"),
        "scenes/2.png": (png, "no face"),
        "scenes/3.xml": (marked(), "no photo"),
        "elsewhere/j": (jpeg, "unlabelled"),
    }
    members += [(name, content) for name, (content, _) in rejected.items()] + [("scenes/2.xml", marked())]
    faces, rejects = examined(members)
    assert set(faces.member) == {"scenes/1.png"} | {f"with mask/{name}" for name in photos}
    assert dict(zip(rejects.member, rejects.kind, strict=True)) == {name: kind for name, (_, kind) in rejected.items()}
    assert len(members) == len(faces) + len(rejects) + 2


def test_files_that_are_no_photos_do_not_count_among_the_lost():
    photos = [(f"with_mask/{number}.png", photo(number)) for number in range(3)]
    labels = [(f"with_mask/{number}.txt", b"0 0.5 0.5 1 1") for number in range(3)]
    faces, rejects = survey(photos + labels, survey__max_rejected=0.0)
    assert len(faces) == len(rejects) == 3
    with pytest.raises(AssertionError, match="the archive holds no images"):
        survey(labels)


def test_scenes_without_a_usable_face_are_one_line_that_says_what_was_marked():
    scenes = [("1.png", encoded(scene(1), "PNG")), ("1.xml", marked(("face_mask", 0, 0, 99, 99)))]
    with pytest.raises(AssertionError, match=r"no marked face can be used \(1 of another class; .*'face_mask'\)"):
        survey(scenes)


def test_near_duplicates_depend_neither_on_names_nor_on_the_number_of_threads(monkeypatch):
    faces = [synthetic.draw_face(np.random.default_rng([4, number]), "with_mask", 96) for number in range(12)]
    contents = [encoded(face) for face in faces]
    contents += [encoded(face.rotate(10)) for face in faces[:6]] + [
        encoded(face.crop((5, 9, 90, 94))) for face in faces
    ]
    results = []
    for threads, names in (("1", range(30)), ("2", reversed(range(30)))):
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", threads)
        members = [(f"with_mask/{name:02d}.jpg", content) for name, content in zip(names, contents, strict=True)]
        faces, _ = survey(sorted(members))
        pairs = pd.read_csv("pairs.csv", keep_default_na=False)
        digest = dict(zip(faces.member, faces.sha256, strict=True))
        named = pairs.assign(left=pairs.left_member.map(digest), right=pairs.right_member.map(digest))
        results.append((
            sorted(zip(faces.sha256, faces.group, strict=True)),
            named[["step", "kind", "correlation", "left", "right"]].to_numpy().tolist(),
        ))  # fmt: skip
    assert results[0] == results[1]
    assert len({group for _, group in results[0][0]}) == 12


def test_where_identical_files_alone_count_photos_are_not_described_until_more_is_asked():
    face = synthetic.draw_face(np.random.default_rng(4), "with_mask", 96)
    members = [(f"with_mask/{number}.jpg", encoded(one)) for number, one in enumerate((face, face, face.rotate(10)))]
    faces, _ = survey(members, survey__near_duplicates=1.0)
    first, second, turned = faces.group
    assert first == second != turned
    assert len(np.load("examined/photos.npy")) == 0
    faces, _ = survey(members)
    assert len(np.load("examined/photos.npy")) > 100
    assert len(set(faces.group)) == 1


def test_a_carriage_return_in_a_name_stays_in_the_name():
    face = synthetic.draw_face(np.random.default_rng(4), "with_mask", 96)
    survey([("with_mask/a\rb.jpg", encoded(face)), ("with_mask/c\rd.txt", b"text")])
    assert read_csv(Path("faces.csv")).member.tolist() == ["with_mask/a\rb.jpg"]
    assert read_csv(Path("rejects.csv")).member.tolist() == ["with_mask/c\rd.txt"]
