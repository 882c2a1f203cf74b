"""split: every photo in one place, each class in its share, no copy on both sides."""

import io
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import stage, write_params
from PIL import Image

from facemask.archive import write_archive
from stages.split import assign, given_split, label_of, simple

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def photo(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def table(counts: dict[str, int]) -> pd.DataFrame:
    rows = [(f"{label}/{n}.png", label, f"{label}{n:04d}") for label, count in counts.items() for n in range(count)]
    return pd.DataFrame(rows, columns=["member", "label", "group"])


def split(members: list[tuple[str, bytes]], **changes) -> pd.DataFrame:
    write_archive(Path("raw.zip"), members)
    write_params(Path(), **changes)
    done = stage("split", "raw.zip", "manifest.csv", "rejects.csv")
    assert done.returncode == 0, done.stderr
    return pd.read_csv("manifest.csv", dtype=str, keep_default_na=False)


def three_classes(count: int) -> list[tuple[str, bytes]]:
    classes = ("with_mask", "without_mask", "incorrect_mask")
    return [(f"{name}/{n:03d}.png", photo(1000 * c + n)) for c, name in enumerate(classes) for n in range(count)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shares", [SHARES, {"train": 0.7, "validation": 0.06, "test": 0.24}])
def test_every_class_gets_its_share_of_every_split(seed, shares):
    photos = table({"a": 200, "b": 50, "c": 1000})
    photos["split"] = assign(photos, shares, seed)
    for label, members in photos.groupby("label"):
        for name, share in shares.items():
            assert abs((members.split == name).sum() - share * len(members)) <= 1, (label, name)


def test_the_order_of_the_photos_does_not_matter_and_the_seed_does():
    photos = table({"a": 60, "b": 40})
    shuffled = photos.sample(frac=1, random_state=0)
    assert assign(photos, SHARES, 1).equals(assign(shuffled, SHARES, 1).sort_index())
    assert not assign(photos, SHARES, 1).equals(assign(photos, SHARES, 2))


@pytest.mark.parametrize("seed", range(5))
def test_a_group_never_spans_two_splits(seed):
    photos = table({"a": 300, "b": 300})
    photos["group"] = [f"g{n % 97}" for n in range(len(photos))]
    photos["split"] = assign(photos, SHARES, seed)
    assert photos.groupby("group").split.nunique().max() == 1
    assert set(photos.split) == set(SHARES)


def test_exact_copies_are_one_group():
    members = three_classes(20) + [(f"with_mask/copy {n}.png", photo(5)) for n in range(6)]
    manifest = split(members)
    copies = manifest[manifest.sha256 == manifest.sha256[manifest.member == "with_mask/005.png"].item()]
    assert len(copies) == 7
    assert copies.group.nunique() == copies.split.nunique() == 1


def test_every_photo_is_in_the_manifest_or_in_the_rejects():
    members = [*three_classes(20), ("with_mask/broken.jpg", b"no photo"), ("with_mask/notes.txt", b"ignored")]
    members += [("elsewhere/1.png", photo(1))]
    manifest = split(members, split__max_rejected=0.1)
    rejects = pd.read_csv("rejects.csv")
    assert len(manifest) == 60
    assert dict(zip(rejects.member, rejects.reason, strict=True)) == {
        "elsewhere/1.png": "in no folder that split.classes names",
        "with_mask/broken.jpg": "not an image",
    }


def test_a_suffix_does_not_decide_what_a_photo_is():
    manifest = split([*three_classes(20), ("with_mask/really a png.JPG", photo(77))])
    assert "with_mask/really a png.JPG" in set(manifest.member)


def test_too_many_rejects_stop_the_stage_with_their_list():
    write_archive(Path("raw.zip"), [*three_classes(10), *((f"with_mask/{n}.jpg", b"") for n in range(5))])
    write_params(Path())
    done = stage("split", "raw.zip", "manifest.csv", "rejects.csv")
    assert done.returncode == 1
    assert (
        "split: 5 of 35 photos rejected, split.max_rejected allows 2.0%; the first: with_mask/0.jpg: empty file;"
        in done.stderr
    )
    assert not Path("manifest.csv").exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "the archive holds no images"),
        ([(f"with_mask/{n}.png", photo(n)) for n in range(30)], "class incorrect_mask has 0 photos"),
        (three_classes(30)[:61], "class incorrect_mask has 1 photos, none of them in"),
    ],
)
def test_data_that_cannot_be_trained_on_is_one_line(members, message):
    write_archive(Path("raw.zip"), members)
    write_params(Path())
    done = stage("split", "raw.zip", "manifest.csv", "rejects.csv")
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


@pytest.mark.parametrize("name", ["WithMask", "with_mask", "With Mask", "WITH-MASK"])
def test_a_class_folder_may_be_spelt_as_people_spell_it(name):
    aliases = {simple("with_mask"): "with_mask"}
    assert label_of(f"data/{name}/1.jpg", aliases) == "with_mask"
    assert label_of(f"{name}.jpg", aliases) is None


def test_the_outermost_split_folder_counts():
    assert given_split("Face Mask Dataset/Train/test/1.jpg") == "train"
    assert given_split("faces/1.jpg") is None
