"""split: every photo in one place, each class in its fraction, no near-duplicate on both sides."""

import io
import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SURVEY, TINY, load_params, stage, write_params
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from facemask.core.errors import UserError
from facemask.data.archive import write_archive
from facemask.data.sources import synthetic
from stages.split import amounts, assign, divide, given_split, leaked, place, remaining

SPLIT = ("faces=faces.csv", "rejects=rejects.csv", "pairs=pairs.csv", "manifest=manifest.csv",
         "headlines=headlines.json", "details=data.json")  # fmt: skip
NO_PAIRS = pd.DataFrame({"step": [], "kind": []})
FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def photo(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def table(counts: dict[str, int]) -> pd.DataFrame:
    rows = [(f"{label}/{n}.png", label, f"{label}{n:04d}") for label, count in counts.items() for n in range(count)]
    return pd.DataFrame(rows, columns=["member", "label", "group"])


def prepared(members: list[tuple[str, bytes]], **changes) -> subprocess.CompletedProcess:
    """Survey an archive and split it; what the stage that fails first says, or the last one."""
    write_archive(Path("raw/synthetic.zip"), members)
    write_params(Path(), **changes)
    done = stage("survey", *SURVEY)
    return done if done.returncode else stage("split", *SPLIT)


def split(members: list[tuple[str, bytes]], **changes) -> pd.DataFrame:
    done = prepared(members, **changes)
    assert done.returncode == 0, done.stderr
    return pd.read_csv("manifest.csv", dtype=str, keep_default_na=False)


def three_classes(count: int) -> list[tuple[str, bytes]]:
    classes = ("with_mask", "without_mask", "incorrect_mask")
    return [(f"{name}/{n:03d}.png", photo(1000 * c + n)) for c, name in enumerate(classes) for n in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fractions", [FRACTIONS, {"train": 0.7, "validation": 0.06, "test": 0.24}])
def test_every_class_gets_its_fraction_of_every_split(seed, fractions):
    photos = table({"a": 200, "b": 50, "c": 1000})
    photos["split"] = assign(photos, fractions, seed)
    for label, members in photos.groupby("label"):
        for name, fraction in fractions.items():
            assert abs((members.split == name).sum() - fraction * len(members)) <= 1, (label, name)


def test_the_order_of_the_photos_does_not_matter_and_the_seed_does():
    photos = table({"a": 60, "b": 40})
    shuffled = photos.sample(frac=1, random_state=0)
    assert assign(photos, FRACTIONS, 1).equals(assign(shuffled, FRACTIONS, 1).sort_index())
    assert not assign(photos, FRACTIONS, 1).equals(assign(photos, FRACTIONS, 2))


@pytest.mark.parametrize("seed", range(5))
def test_a_group_never_spans_two_splits(seed):
    photos = table({"a": 300, "b": 300})
    photos["group"] = [f"g{n % 97}" for n in range(len(photos))]
    photos["split"] = assign(photos, FRACTIONS, seed)
    assert photos.groupby("group").split.nunique().max() == 1
    assert set(photos.split) == set(FRACTIONS)


def test_identical_files_are_one_group():
    members = three_classes(20) + [(f"with_mask/copy {n}.png", photo(5)) for n in range(6)]
    manifest = split(members)
    duplicates = manifest[manifest.sha256 == manifest.sha256[manifest.member == "with_mask/005.png"].item()]
    assert len(duplicates) == 7
    assert duplicates.group.nunique() == duplicates.split.nunique() == 1


def test_every_photo_is_in_the_manifest_or_in_the_rejects():
    members = [*three_classes(20), ("with_mask/broken.jpg", b"no photo"), ("with_mask/notes.txt", b"ignored")]
    members += [("elsewhere/1.png", photo(1))]
    manifest = split(members, survey__max_rejected=0.1)
    rejects = pd.read_csv("rejects.csv")
    assert len(manifest) == 60
    assert dict(zip(rejects.member, rejects.reason, strict=True)) == {
        "elsewhere/1.png": "in no folder that survey.classes names",
        "with_mask/broken.jpg": "not an image",
        "with_mask/notes.txt": "not an image",
    }


def test_a_suffix_does_not_decide_what_a_photo_is():
    manifest = split([*three_classes(20), ("with_mask/really a png.JPG", photo(77))])
    assert "with_mask/really a png.JPG" in set(manifest.member)


def test_too_many_rejects_stop_the_stage_with_their_list():
    done = prepared([*three_classes(10), *((f"with_mask/{n}.jpg", b"") for n in range(5))])
    assert done.returncode == 1
    assert (
        "survey: 5 of 35 photos rejected, survey.max_rejected allows 2.0%: with_mask/0.jpg: empty file; with_mask/1"
        in done.stderr
    )
    assert not Path("manifest.csv").exists()


def test_folders_that_name_no_class_are_listed_with_their_photos_and_long_lists_are_cut():
    strays = [(f"photos/Masked people/{n}.png", photo(n)) for n in range(7)] + [
        ("photos/new/1.png", photo(8)),
        ("top.png", photo(9)),
    ]
    done = prepared([*three_classes(10), *strays, *((f"with_mask/broken {n}.jpg", b"") for n in range(12))])
    assert (
        "survey: 21 of 51 photos rejected, survey.max_rejected allows 2.0%: 7 of synthetic in photos/Masked people, "
        "which survey.classes does not name; 1 of synthetic in no folder; 1 of synthetic in photos/new, which "
        "survey.classes does not name; with_mask/broken 0.jpg: "
    ) in done.stderr
    assert done.stderr.endswith(": empty file; and more\n")
    assert done.stderr.count("broken") == 5


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "the archive holds no images"),
        ([(f"with_mask/{n}.png", photo(n)) for n in range(30)], "class incorrect_mask has 0 faces, none"),
        (three_classes(30)[:61], "class incorrect_mask has 1 faces, none of them in"),
    ],
)
def test_data_that_cannot_be_trained_on_is_one_line(members, message):
    done = prepared(members)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_given_splits_are_kept():
    members = [
        (f"Dataset/{folder}/{label}/{n}.png", photo(zlib.crc32(f"{folder}{label}{n}".encode())))
        for folder, count in (("Train", 8), ("Validation", 3), ("Test", 4))
        for label in ("WithMask", "WithoutMask", "mask_weared_incorrect")
        for n in range(count)
    ]
    manifest = split(members, split__method="given")
    assert manifest.groupby("split").size().to_dict() == {"test": 12, "train": 24, "validation": 9}
    assert set(manifest.label) == {"with_mask", "without_mask", "incorrect_mask"}


def test_the_outermost_split_folder_counts():
    assert given_split("Face Mask Dataset/Train/test/1.jpg") == "train"
    assert given_split("faces/1.jpg") is None


# --- near-duplicates


def encoded(image: Image.Image, kind: str = "JPEG", **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def masked(image: Image.Image) -> Image.Image:
    """The photo with a mask pasted over the lower face."""
    pasted, side = image.copy(), image.width
    corners = [(0.2, 0.55), (0.5, 0.5), (0.8, 0.55), (0.75, 0.8), (0.5, 0.95), (0.25, 0.8)]
    ImageDraw.Draw(pasted).polygon([(x * side, y * side) for x, y in corners], fill=(150, 190, 215))
    return pasted


COPIES = {
    "exact": encoded,
    "resized": lambda image: encoded(image.resize((64, 64))),
    "re-encoded": lambda image: encoded(image, "WEBP", quality=50),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.25)),
    "mirrored": lambda image: encoded(ImageOps.mirror(image)),
    "pasted": lambda image: encoded(masked(image)),
}


def with_near_duplicates(kinds: dict = COPIES) -> list[tuple[str, bytes]]:
    """Ninety faces; every second one has a copy of some kind, which for a pasted mask has the other label."""
    members = []
    for number in range(90):
        label = ("with_mask", "without_mask")[number % 2]
        face = synthetic.draw_face(np.random.default_rng([8, number]), label, 128)
        members.append((f"{label}/{number}.jpg", encoded(face)))
        if number % 2:
            kind = list(kinds)[number // 2 % len(kinds)]
            place = "with_mask" if kind == "pasted" else label
            members.append((f"{place}/{kind} copy of {number}.jpg", kinds[kind](face)))
    return members


TWO_CLASSES = {"survey__classes": {"with_mask": [], "without_mask": []}, "decision__label": "without_mask"}


def test_no_copy_of_any_kind_spans_two_splits_on_any_seed_and_a_random_split_leaks():
    split(with_near_duplicates(), **TWO_CLASSES)
    faces = pd.read_csv("faces.csv", dtype={"group": str})
    faces["original"] = faces.member.str.extract(r"(\d+)\.jpg")[0]
    settings = load_params().split
    for seed in range(30):
        splits, leaks = divide(faces, settings, seed)
        assert splits.groupby(faces.original).nunique().max() == 1
        assert leaks > 0
        assert not leaked(splits, faces.group).any()


def test_what_the_data_is_is_counted():
    split(with_near_duplicates(), **TWO_CLASSES)
    data = json.loads(Path("data.json").read_text())
    assert data["photos"] == 135
    near = data["near_duplicates"]
    pairs = pd.read_csv("pairs.csv", keep_default_na=False)
    searched, sampled = pairs[pairs.step == "search"], pairs[pairs.step == "sample"]
    assert near["pairs"]["identical"] == 8
    assert near["pairs"]["mirrored"] == 7
    assert near["pairs"]["re-encoded"] >= 22
    assert data["groups_across_labels"] >= 4  # of seven, whose lower face is under a pasted mask
    assert sum(near["pairs"].values()) == (searched.kind != "").sum() <= near["compared"] == len(searched)
    assert data["groups"] <= 135 - 8 - 22 - 7
    assert near["across_splits"]["ungrouped"] > near["across_splits"]["grouped"] == 0
    assert near["remaining"]["sampled"] == len(sampled) == 127
    assert near["remaining"]["found"] == (sampled.kind != "").sum()
    assert sum(sum(counts.values()) for counts in data["faces"].values()) == 135
    assert Image.open("groups.png").width > 200


def test_if_only_identical_files_count_nothing_else_is_compared():
    split(with_near_duplicates(), survey__near_duplicates=1.0, **TWO_CLASSES)
    near = json.loads(Path("data.json").read_text())["near_duplicates"]
    assert (near["pairs"], near["compared"], near["remaining"]) == ({"identical": 8}, 8, {})


@pytest.mark.parametrize(("found", "low", "high"), [(0, 0, 0.0074), (3, 0.0012, 0.0174), (500, 0.9926, 1)])
def test_what_may_remain_has_an_exact_interval(found, low, high):
    sample = pd.DataFrame({"kind": ["turned"] * found + [""] * (500 - found)})
    left = remaining(sample, 400)
    assert (left["sampled"], left["found"], left["low"], left["high"]) == (500, found, low, high)
    assert left["test_photos_at_most"] == pytest.approx(400 * high, abs=0.1)


@pytest.mark.parametrize("policy", ["drop", "keep"])
def test_near_duplicates_across_given_splits_are_counted_and_dropped_from_training_if_asked(policy):
    classes = ("with_mask", "without_mask")
    members = [
        (f"{folder}/{label}/{n}.png", photo(zlib.crc32(f"{folder}{label}{n}".encode())))
        for folder, count in (("train", 8), ("validation", 3), ("test", 4))
        for label in classes
        for n in range(count)
    ]
    members += [("train/with_mask/leak.png", dict(members)["test/with_mask/1.png"])]
    members += [("validation/with_mask/leak.png", dict(members)["test/with_mask/2.png"])]
    manifest = split(members, split__method="given", split__leaked=policy, **TWO_CLASSES)
    leaks = json.loads(Path("data.json").read_text())["near_duplicates"]["across_splits"]
    assert leaks == {"ungrouped": 2, "grouped": 0 if policy == "drop" else 2}
    assert manifest.member.str.contains("leak").sum() == (0 if policy == "drop" else 2)
    assert (manifest.split == "test").sum() == 8


def test_that_all_given_training_photos_of_a_class_are_copies_of_test_photos_is_said():
    classes = ("with_mask", "without_mask")
    members = [
        (f"{folder}/{label}/{n}.png", photo(n if label == "with_mask" and number != 1 else 100 * number + 10 + n))
        for number, folder in enumerate(("train", "validation", "test"))
        for label in classes
        for n in range(3)
    ]
    done = prepared(members, split__method="given", split__leaked="drop", **TWO_CLASSES)
    assert done.returncode == 1
    reason = "(left out, as near-duplicates of faces in a later split: 3)"
    assert f"class with_mask has 9 faces, none of them in train {reason}; give" in done.stderr


def test_a_photo_outside_the_given_folders_is_one_line():
    done = prepared([("stray/with_mask/1.png", photo(1)), *three_classes(5)], split__method="given")
    assert done.returncode == 1
    assert "is in no train, validation or test folder; move it, or set split.method: random" in done.stderr


def synthetic_faces(use: str) -> dict[str, object]:
    return {"use": use, "source": "synthetic", "images": 30, "size": 40}


def test_other_datasets_are_a_split_each_or_join_training_but_for_near_duplicates_of_held_out_faces():
    own = table({"a": 100, "b": 100}).assign(dataset="synthetic", sha256="x")
    others = pd.concat([
        table({"a": 30}).assign(dataset="more", sha256="y"),
        table({"b": 20}).assign(dataset="external", sha256="z", group=[f"z{n}" for n in range(20)]),
    ])  # fmt: skip
    write_params(
        Path(), datasets=TINY["datasets"] | {"more": synthetic_faces("train"), "external": synthetic_faces("test")}
    )
    settings = load_params()
    placed = place(pd.concat([own, others], ignore_index=True), settings.datasets, settings.split, 1)[0].dropna()
    assert (placed[placed.dataset == "external"].split == "external").sum() == 20
    more, own = (placed[placed.dataset == name] for name in ("more", "synthetic"))
    assert 0 < len(more) < 30
    assert (more.split == "train").all()
    assert not set(more.group) & set(own.group[own.split != "train"])


def test_faces_of_an_external_test_set_that_are_near_duplicates_of_training_are_left_out_and_counted():
    own = table({"a": 100, "b": 100}).assign(dataset="synthetic", sha256="x")
    external = table({"a": 30}).assign(dataset="external", sha256="z")
    write_params(Path(), datasets=TINY["datasets"] | {"external": synthetic_faces("test")})
    settings = load_params()
    faces = pd.concat([own, external], ignore_index=True)
    placed, leaks = place(faces, settings.datasets, settings.split, 1)
    manifest = placed.dropna()
    of_test = set(manifest.group[manifest.split == "test"])
    kept = manifest[manifest.split == "external"]
    assert 0 < len(kept) < 30
    assert list(kept.group) == [group for group in external.group if group in of_test]
    data = amounts(placed, pd.DataFrame({"kind": []}), NO_PAIRS, settings.datasets, leaks)
    assert data["near_duplicates"]["left_out"] == {"external": 30 - len(kept), "synthetic": 0}
    assert data["photos"] == 200


def test_the_manifest_has_the_divided_dataset_first_then_those_added_to_training_then_external_ones():
    uses = {"a": "test", "b": "train", "c": "split", "d": "test"}
    write_params(Path(), datasets={name: synthetic_faces(use) for name, use in uses.items()}, **TWO_CLASSES)
    faces = pd.concat([table({"with_mask": 20, "without_mask": 20}).assign(dataset=name) for name in uses])
    faces["group"] = faces["sha256"] = [f"{number:064}" for number in range(len(faces))]
    faces.assign(given=faces.label, left=0, top=0, right=0, bottom=0, width=9, height=9).to_csv(
        "faces.csv", index=False
    )
    Path("rejects.csv").write_text("dataset,member,kind,reason\n")
    NO_PAIRS.to_csv("pairs.csv", index=False)
    done = stage("split", *SPLIT)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv("manifest.csv").dataset.tolist() == [name for name in "cbad" for _ in range(40)]


def test_an_external_test_set_of_nothing_but_training_faces_stops_in_one_line():
    own = table({"a": 100, "b": 100}).assign(dataset="synthetic", sha256="x")
    write_params(Path(), datasets=TINY["datasets"] | {"external": synthetic_faces("test")})
    settings = load_params()
    splits, _ = divide(own, settings.split, 1)
    external = own[splits == "train"].assign(dataset="external")
    with pytest.raises(UserError, match=r"^datasets.external: all of its faces are near-duplicates of the training"):
        place(pd.concat([own, external], ignore_index=True), settings.datasets, settings.split, 1)


@pytest.mark.parametrize("use", ["split", "train", "test"])
def test_a_dataset_without_a_usable_face_stops_in_one_line(use):
    own = table({"a": 100, "b": 100}).assign(dataset="synthetic", sha256="x")
    write_params(Path(), datasets=TINY["datasets"] | {"other": synthetic_faces(use)})
    settings = load_params()
    with pytest.raises(
        UserError, match=r"^datasets.other: none of its faces can be used; the list of rejects says why$"
    ):
        place(own, settings.datasets, settings.split, 1)


def test_the_amounts_are_those_counted_by_hand():
    """Five photos to split, one with two faces, and an external test set of two, of which one is left out."""
    columns = ["dataset", "member", "label", "group"]
    faces = pd.DataFrame([
        ("mine", "a.jpg", "on", "1"), ("mine", "b.jpg", "off", "1"), ("mine", "c.jpg", "on", "2"),
        ("mine", "c.jpg", "on", "2"), ("mine", "d.jpg", "off", "3"), ("mine", "e.jpg", "off", "4"),
        ("theirs", "a.jpg", "on", "2"), ("theirs", "b.jpg", "off", "5"),
    ], columns=columns)  # fmt: skip
    splits = ["train", "test", "test", "test", "train", "validation"]
    faces["split"] = [*splits, None, "theirs"]
    rejects = pd.DataFrame({"kind": ["broken", "broken", "small"]})
    pairs = pd.DataFrame([
        ("search", "mirrored"), ("search", "mirrored"), ("search", "cropped"), ("search", ""), ("sample", ""),
        ("sample", "turned"), ("sample", ""), ("sample", ""), ("sample", ""),
    ], columns=["step", "kind"])  # fmt: skip
    write_params(Path(), datasets={
        "mine": {"use": "split", "source": "synthetic", "images": 30, "size": 40},
        "theirs": {"use": "test", "source": "archive", "path": "theirs.zip"},
    })  # fmt: skip
    found = amounts(faces, rejects, pairs, load_params().datasets, 9)
    left = found["near_duplicates"].pop("remaining")
    assert found == {
        "faces": {"test": {"on": 2, "off": 1}, "theirs": {"off": 1}, "train": {"on": 1, "off": 1},
                  "validation": {"off": 1}},
        "rejects": {"broken": 2, "small": 1},
        "photos": 5,
        "groups": 4,
        "groups_across_labels": 1,
        "near_duplicates": {
            "compared": 4,
            "pairs": {"mirrored": 2, "cropped": 1},
            "across_splits": {"ungrouped": 9, "grouped": 1},
            "left_out": {"mine": 0, "theirs": 1},
        },
    }  # fmt: skip
    # Exact limits of 1 of 5 (Clopper and Pearson's tables), and the upper one of 2 test photos.
    assert left == {"sampled": 5, "found": 1, "low": 0.0051, "high": 0.7164, "test_photos_at_most": 1.4}
