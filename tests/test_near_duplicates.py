"""Near-duplicates: every kind is found, and no two photos that only look alike."""

import collections
import hashlib
import io
import re
import zipfile
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from facemask.data import images
from facemask.data.near_duplicates import candidates
from facemask.data.near_duplicates.candidates import NEXT, nearest
from facemask.data.near_duplicates.features import FEATURE, FEATURES, SIDE, extract, grey, mirrored
from facemask.data.near_duplicates.search import connected
from facemask.data.near_duplicates.verification import KINDS, LOOSER, Limits, Overlap, align, compare, kind
from facemask.data.sources.drawing.canvas import Canvas
from facemask.data.sources.drawing.person import Head, Person
from facemask.data.sources.drawing.portrait import develop, draw_figure
from facemask.data.sources.synthetic import draw_member

CORRELATION = 0.92
FACES = 60


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scaled(image: Image.Image, scale: float) -> Image.Image:
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC)


def with_gamma(image: Image.Image, gamma: float) -> Image.Image:
    return image.point([round(255 * (value / 255) ** gamma) for value in range(256)] * 3)


def turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(40, 90, 60))


def cropped(image: Image.Image, fraction: float, right: float = 0.3, down: float = 0.6) -> Image.Image:
    """That fraction of the width and of the height, from so far to the right and down as there is room."""
    width, height = (round(side * fraction) for side in image.size)
    left, top = round(right * (image.width - width)), round(down * (image.height - height))
    return image.crop((left, top, left + width, top + height))


def masked(image: Image.Image) -> Image.Image:
    image = image.copy()
    shape = [(0.5, 0.46), (0.85, 0.54), (0.8, 0.8), (0.6, 0.97), (0.4, 0.97), (0.2, 0.8), (0.15, 0.54)]
    ImageDraw.Draw(image).polygon([(x * image.width, y * image.height) for x, y in shape], (150, 200, 225))
    return image


EDITS = {
    "half": ("re-encoded", lambda image: encoded(scaled(image, 1 / 2))),
    "double": ("re-encoded", lambda image: encoded(scaled(image, 2))),
    "64 pixels": ("re-encoded", lambda image: encoded(scaled(image, 64 / image.width))),
    "JPEG 30": ("re-encoded", lambda image: encoded(image, quality=30)),
    "WebP": ("re-encoded", lambda image: encoded(image, "WEBP", quality=60)),
    "brighter": ("re-encoded", lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.25))),
    "darker": ("re-encoded", lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.75))),
    "less contrast": ("re-encoded", lambda image: encoded(ImageEnhance.Contrast(image).enhance(0.75))),
    "gamma 1.5": ("re-encoded", lambda image: encoded(with_gamma(image, 1.5))),
    "grey": ("re-encoded", lambda image: encoded(image.convert("L"))),
    "mirrored": ("mirrored", lambda image: encoded(ImageOps.mirror(image))),
    "turned by 8": ("turned", lambda image: encoded(turned(image, 8))),
    "turned by -20": ("turned", lambda image: encoded(turned(image, -20))),
    "mirrored, turned by 12": ("mirrored", lambda image: encoded(ImageOps.mirror(turned(image, 12)))),
    "cropped to 90 %": ("cropped", lambda image: encoded(cropped(image, 0.9))),
    "cropped to 70 %": ("cropped", lambda image: encoded(cropped(image, 0.7))),
    "masked": ("occluded", lambda image: encoded(masked(image))),
}


def greys(contents) -> list[np.ndarray]:
    """The photos in grey."""
    return [grey(images.decode(content, at_least=SIDE)) for content in contents]


def verified(photos: list[np.ndarray], limits: Limits = Limits()) -> dict[tuple[int, int], str]:  # noqa: B008
    """The kind of every pair that is found among some photos."""
    found = [extract(photo) for photo in photos]
    kinds = {}
    for left, right, flip in candidates.find(found).tolist():
        matrix = align(found[left], mirrored(found[right]) if flip else found[right], limits)
        if matrix is not None:
            overlap = compare(photos[left], photos[right][:, ::-1] if flip else photos[right], matrix)
            if name := kind(overlap, bool(flip), CORRELATION):
                kinds[left, right] = name
    return kinds


def together(numbers: np.ndarray) -> set[frozenset]:
    return {frozenset(np.flatnonzero(numbers == number)) for number in np.unique(numbers)}


@pytest.fixture(scope="module")
def faces() -> list[bytes]:
    return [draw_member(index, 96)[1] for index in range(FACES)]


def noise(count: int, seed: int = 0) -> list[np.ndarray]:
    """Features of photos that have nothing in common."""
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(count):
        photo = np.zeros(FEATURES, FEATURE)
        photo["code"] = rng.integers(0, 2**64, FEATURES, np.uint64)
        for name, low, high in (("x", -64, 64), ("y", -64, 64), ("size", 2, 20), ("angle", 0, 360)):
            photo[name] = rng.uniform(low, high, FEATURES)
        photos.append(photo)
    return photos


def alone(photos: list[np.ndarray]) -> np.ndarray:
    """Groups of one photo each."""
    return np.arange(len(photos))


# --- the whole way


def test_no_two_synthetic_faces_are_near_duplicates(faces):
    assert verified(greys(faces)) == {}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_photo_is_a_near_duplicate_of_the_kind_it_is(edit, faces):
    expected, change = EDITS[edit]
    photos = greys(faces[:10])
    pairs = verified(photos + greys(change(images.decode(face)) for face in faces[:10]))
    assert all(right - left == 10 for left, right in pairs)
    least = 5 if edit == "masked" else 10  # synthetic faces have little texture above a mask
    assert len(pairs) >= least
    assert list(pairs.values()).count(expected) >= least - 1


def test_photos_without_anything_to_see_are_no_near_duplicates():
    flat = [np.full((128, 100), level, np.uint8) for level in (0, 128, 255)] * 2
    assert [len(extract(photo)) for photo in flat] == [0] * 6
    assert verified(flat) == {}


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2), (2000, 10)])
def test_any_size_has_features(size):
    photo = grey(Image.radial_gradient("L").resize(size))
    assert max(photo.shape) == SIDE
    assert extract(photo).dtype == FEATURE


# --- features


def test_the_features_of_a_mirror_image_are_the_mirrored_features(faces):
    for photo in greys(faces[:5]):
        found = np.sort(mirrored(extract(photo)), order=("y", "x", "code"))
        seen = np.sort(extract(np.ascontiguousarray(photo[:, ::-1])), order=("y", "x", "code"))
        alike = np.isin(found["code"], seen["code"])
        assert alike.mean() > 0.4
        placed = []
        for feature in found[alike]:  # two features of a photo may have one code
            others = seen[seen["code"] == feature["code"]]
            turned = np.abs((float(feature["angle"]) - others["angle"].astype(float) + 180) % 360 - 180)
            placed.append(bool(((np.abs(float(feature["x"]) - others["x"].astype(float)) < 0.2) & (turned < 1)).any()))
        assert np.mean(placed) > 0.8


def test_features_do_not_depend_on_how_many_threads_opencv_has(faces):
    photo, threads = greys(faces[:1])[0], cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = extract(photo)
        cv2.setNumThreads(4)
        assert (extract(photo) == one).all()
    finally:
        cv2.setNumThreads(threads)


# --- candidates


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos_are_no_special_case(count):
    assert candidates.find(noise(count)).shape == (0, 3)
    assert candidates.find([np.zeros(0, FEATURE)] * count).shape == (0, 3)


def test_candidates_share_features_turned_and_scaled_alike():
    left, right = noise(2)
    for shared, turn, scale, expected in (
        (0, 30, 1.5, 0), (2, 30, 1.5, 0), (3, 30, 1.5, 1), (3, [0, 120, 240], 1.5, 0), (3, 30, [1, 6, 30], 0),
    ):  # fmt: skip
        photo = right.copy()
        photo[:shared] = left[:shared]
        photo["angle"][:shared] = left["angle"][:shared] + np.array(turn)
        photo["size"][:shared] = left["size"][:shared] * np.array(scale)
        photo["code"][:shared] ^= np.uint64(1 | 1 << 31 | 1 << 32)  # one key of four is still equal
        assert len(candidates.find([left, photo])) == expected


def test_features_that_many_photos_have_count_half():
    crowd = noise(40)

    def sharing(features: int) -> list[np.ndarray]:
        for number, photo in enumerate(crowd):
            photo[:features] = crowd[0][:features]
            photo["code"][:features] ^= np.uint64(number << 12)  # the keys of the other half are still equal
        return crowd

    assert len(candidates.find(sharing(2)[:8])) > 6
    assert len(candidates.find(sharing(2))) < 3
    assert len(candidates.find(sharing(4))) > 38


def test_features_that_agree_in_half_their_code_alone_do_not_count():
    left, right = noise(2)
    right[:9] = left[:9]
    for bits, expected in ((14, 1), (15, 0)):
        right["code"][:9] = left["code"][:9] ^ np.uint64(2**bits - 1 << 40)
        assert len(candidates.find([left, right])) == expected


def test_a_mirrored_candidate_says_so():
    left, right = noise(2)
    right[:9] = mirrored(left[:9])
    assert candidates.find([left, right]).tolist() == [[0, 1, 1]]


def test_thousands_of_near_duplicates_are_one_group_and_cost_no_more_than_linear():
    crowd = noise(1, seed=1) * 1500 + noise(500)
    pairs = candidates.find(crowd)
    assert len(pairs) <= 2 * NEXT * FEATURES * len(crowd)
    numbers = connected(len(crowd), pairs[:, :2])
    assert len(np.unique(numbers[:1500])) == 1
    assert len(np.unique(numbers)) > 490  # a few share features by chance, which verification is for


def test_a_collection_in_many_steps_has_the_same_candidates(monkeypatch, faces):
    found = [extract(photo) for photo in greys(faces)]
    whole, close = candidates.find(found), nearest(found, alone(found), np.arange(5), 3)
    assert len(whole) > 10
    for name, step in (
        ("PHOTOS_A_COUNT", 7),
        ("COUNTS", 5),
        ("ENTRIES_A_TABLE", 500),
        ("ENTRIES_A_BLOCK", 100),
        ("PHOTOS_A_SCORE", 3),
    ):
        monkeypatch.setattr(candidates, name, step)
    assert (candidates.find(found) == whole).all()
    features = candidates.Features(np.concatenate(found), np.cumsum([len(photo) for photo in found]))
    assert sum(1 for _ in candidates.ranges(features, 20)) > 4
    assert (nearest(found, alone(found), np.arange(5), 3) == close).all()


def test_the_nearest_photos_share_most(faces):
    photos = noise(30)
    for other, shared in ((7, 40), (21, 25), (12, 10)):
        photos[other][:shared] = mirrored(photos[0][:shared]) if other == 21 else photos[0][:shared]
    pairs = nearest(photos, alone(photos), np.arange(1), 3)
    assert pairs.tolist() == [[0, 7, 0], [0, 21, 1], [0, 12, 0]]
    assert set(nearest(photos, alone(photos), np.array([0, 7]), 1)[:, 0]) == {0, 7}
    groups = alone(photos)
    groups[7] = groups[0]  # known already, so others are looked at instead
    assert nearest(photos, groups, np.arange(1), 2).tolist() == [[0, 21, 1], [0, 12, 0]]


def test_the_nearest_photos_are_those_with_most_equal_quarters_of_codes():
    """Counted one by one, for codes of which few values occur, those of the first and the last bit among them."""
    rng, photos = np.random.default_rng(5), [photo[:12] for photo in noise(9)]
    for photo in photos:
        quarters = rng.choice([0, 1, 7, 2**16 - 2, 2**16 - 1], (len(photo), 4)) + rng.integers(0, 4, (len(photo), 4))
        photo["code"] = np.ascontiguousarray(quarters % 2**16, dtype=np.uint16).view(np.uint64)[:, 0]

    def equal(one: np.ndarray, other: np.ndarray) -> int:
        ones, others = (photo["code"].copy().view(np.uint16).reshape(-1, 4) for photo in (one, other))
        return int((ones[:, None] == others[None]).sum())

    for photo in range(3):
        counts = {
            (other, flip): equal(mirrored(photos[photo]) if flip else photos[photo], photos[other])
            for other in range(9)
            for flip in (0, 1)
            if other != photo
        }
        found = nearest(photos, alone(photos), np.arange(photo + 1), 5)
        mine = [tuple(pair) for pair in found[found[:, 0] == photo][:, 1:].tolist()]
        assert mine == sorted(counts, key=lambda pair: (-counts[pair], pair))[:5]
    unlike = noise(2)
    for photo, quarter in zip(unlike, (0, 1), strict=True):
        photo["code"] = quarter * (2**64 // 15)
    assert len(nearest(unlike, alone(unlike), np.arange(2), 5)) == 0


def test_people_before_one_background_are_no_near_duplicates():
    photos = []
    for number in range(15):
        rng = np.random.default_rng([3, number])
        backdrop = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8))
        for label in ("with_mask", "without_mask"):
            person, canvas = Person.sample(rng), Canvas(SIDE)
            canvas.image = backdrop.resize(canvas.image.size, Image.Resampling.BICUBIC)
            draw_figure(canvas, Head(person, canvas.side), person, rng, label)
            photos.append(grey(develop(canvas, 1.0, rng)))
    found = [extract(photo) for photo in photos]
    same = [pair for pair in candidates.find(found).tolist() if pair[0] // 2 == pair[1] // 2]
    assert len(same) > 5  # that is, the background is seen
    assert verified(photos) == {}


# --- verification


def test_a_known_transform_is_found(faces):
    photo = extract(greys(faces[:1])[0])
    moved = photo.copy()
    angle, scale = np.deg2rad(20), 0.8
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved["x"], moved["y"] = matrix @ np.stack([photo["x"], photo["y"]]).astype(float) + [[5], [-3]]
    moved["size"], moved["angle"] = photo["size"] * scale, (photo["angle"] + 20) % 360
    found = align(photo, moved)
    assert np.allclose(found, np.hstack([matrix, [[5], [-3]]]), atol=0.05)


def test_photos_that_share_too_few_features_or_none_cannot_be_aligned():
    left, right = noise(2)
    assert align(left, right) is None
    assert align(left, left[:0]) is None
    right[:4] = left[:4]
    assert align(left, right) is None
    assert align(left, right, LOOSER) is not None


def test_a_transform_that_no_editor_makes_is_none():
    left = noise(1)[0]
    squeezed = left.copy()
    squeezed["x"] = left["x"] * 0.3
    assert align(left, squeezed, Limits(pixels=40)) is None


def test_a_small_overlap_says_nothing(faces):
    photo = greys(faces[:1])[0]
    aside = np.array([[1.0, 0, 0.8 * photo.shape[1]], [0, 1, 0]])
    assert compare(photo, photo, aside).correlation == 0
    assert compare(photo, photo, np.eye(2, 3)).correlation > 0.999


@pytest.mark.parametrize(
    ("overlap", "mirror", "expected"),
    [
        (Overlap(0.95, 0.7, 1, 0), False, "re-encoded"),
        (Overlap(0.92, 0.1, 1, 0), False, "re-encoded"),
        (Overlap(0.95, 0.7, 1, 0), True, "mirrored"),
        (Overlap(0.95, 0.7, 0.8, -9), False, "turned"),
        (Overlap(0.95, 0.7, 0.8, 2.5), False, "turned"),
        (Overlap(0.95, 0.7, 0.8, 2), False, "cropped"),
        (Overlap(0.95, 0.7, 0.95, 0), False, "re-encoded"),
        (Overlap(0.8, 0.6, 1, 0), False, "re-encoded"),
        (Overlap(0.5, 0.37, 1, 0), False, "occluded"),
        (Overlap(0.55, 0.45, 1, 0), False, "occluded"),
        (Overlap(0.91, 0.65, 1, 0), False, "re-encoded"),
        (Overlap(0.91, 0.45, 1, 0), False, ""),  # one person twice: alike everywhere, the same in part
        (Overlap(0.50, 0.30, 1, 0), False, ""),
    ],
)
def test_the_kind_says_what_was_done_to_a_photo(overlap, mirror, expected):
    assert kind(overlap, mirror, CORRELATION) == expected
    assert expected in {*KINDS, ""}


# --- groups


def test_groups_are_chains_of_pairs():
    pairs = np.array([[0, 3], [3, 5], [1, 2]])
    assert together(connected(7, pairs)) == {frozenset({0, 3, 5}), frozenset({1, 2}), frozenset({4}), frozenset({6})}
    assert len(np.unique(connected(4, pairs[:0]))) == 4


# --- real photos


def real_photos(shared, count: int) -> list[bytes]:
    """Photos with different content, a random sample, always the same ones."""
    with zipfile.ZipFile(shared / "data/face-mask-3833.zip") as archive:
        names = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in images.SUFFIXES]
        names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
        return [archive.read(name) for name in names[:count]]


REAL = {
    "turned": (0.97, lambda image, rng: turned(image, rng.uniform(5, 25) * rng.choice([-1, 1]))),
    "cropped": (0.93, lambda image, rng: cropped(image, rng.uniform(0.6, 0.95), *rng.uniform(size=2))),
    "mirrored": (0.97, lambda image, _: ImageOps.mirror(image)),
    "brightened": (0.93, lambda image, _: ImageEnhance.Brightness(image).enhance(1.25)),
    "masked": (0.90, lambda image, _: masked(image)),
}


def recall(shared, count: int) -> dict[str, float]:
    """The fraction of planted near-duplicates that is found, by kind."""
    rng = np.random.default_rng(0)
    originals = [images.decode(content) for content in real_photos(shared, count)]
    planted = [encoded(edit(image, rng), quality=85) for _, edit in REAL.values() for image in originals]
    pairs = verified([grey(image) for image in originals] + greys(planted))
    return {
        name: np.mean([(index, (1 + place) * count + index) in pairs for index in range(count)])
        for place, name in enumerate(REAL)
    }


@pytest.mark.real
def test_planted_near_duplicates_of_real_photos_are_found(shared):
    assert all(found >= 0.9 for found in recall(shared, 40).values())


@pytest.mark.real
@pytest.mark.slow
def test_planted_near_duplicates_of_two_hundred_real_photos_are_found(shared):
    found = recall(shared, 200)
    for name, (least, _) in REAL.items():
        assert found[name] >= least, (name, found)
    print(found)


@pytest.mark.real
def test_photos_of_different_people_are_no_near_duplicates(shared):
    """Two hundred photos of people whom the archive names, at most three of each."""
    with zipfile.ZipFile(shared / "data/face-mask-3833.zip") as archive:
        people = collections.defaultdict(list)
        for name in sorted(archive.namelist()):
            if named := re.fullmatch(r"\d_\d_([a-z]{2,})_\d+", PurePosixPath(name).stem):
                people[named[1]].append(name)
        names = [name for photos in list(people.values()) for name in photos[:3]][:200]
        photos = greys(archive.read(name) for name in names)
    person = [re.sub(r"^\d_\d_|_\d+$", "", PurePosixPath(name).stem) for name in names]
    assert len(names) == 200
    assert [pair for pair in verified(photos) if person[pair[0]] != person[pair[1]]] == []
