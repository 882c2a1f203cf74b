"""Duplicates: every kind of copy is found, and nobody's double is."""

import io
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from facemask.data import images
from facemask.data.near_duplicates import PARTS, SIDE, WINDOW, fingerprint, groups, neighbours
from facemask.data.sources.synthetic import draw_member

DISTANCE = 32
FACES = 150


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def with_gamma(image: Image.Image, gamma: float) -> Image.Image:
    return image.point([round(255 * (value / 255) ** gamma) for value in range(256)] * 3)


def masked(image: Image.Image) -> Image.Image:
    image = image.copy()
    shape = [(0.5, 0.46), (0.85, 0.54), (0.8, 0.8), (0.6, 0.97), (0.4, 0.97), (0.2, 0.8), (0.15, 0.54)]
    ImageDraw.Draw(image).polygon([(x * image.width, y * image.height) for x, y in shape], (150, 200, 225))
    return image


COPIES = {
    "exact": lambda image: encoded(image, "PNG"),
    "half": lambda image: encoded(scaled(image, 1 / 2)),
    "double": lambda image: encoded(scaled(image, 2)),
    "thumbnail": lambda image: encoded(scaled(image, 64 / image.width)),
    "JPEG 30": lambda image: encoded(image, quality=30),
    "WebP": lambda image: encoded(image, "WEBP", quality=60),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.25)),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.75)),
    "more contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(1.25)),
    "less contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(0.75)),
    "gamma 0.7": lambda image: encoded(with_gamma(image, 0.7)),
    "gamma 1.5": lambda image: encoded(with_gamma(image, 1.5)),
    "grey": lambda image: encoded(image.convert("L")),
    "mirrored": lambda image: encoded(ImageOps.mirror(image)),
    "masked": lambda image: encoded(masked(image)),
    "masked, mirrored": lambda image: encoded(ImageOps.mirror(masked(image))),
    "masked, brighter": lambda image: encoded(ImageEnhance.Brightness(masked(image)).enhance(1.2)),
}


def fingerprints(contents) -> np.ndarray:
    return np.stack([fingerprint(images.decode(content, at_least=SIDE)) for content in contents])


def share_found(originals: np.ndarray, copies: np.ndarray) -> float:
    numbers = groups(np.concatenate([originals, copies]), DISTANCE)
    return np.mean(numbers[: len(originals)] == numbers[len(originals) :])


def together(numbers: np.ndarray) -> set[frozenset]:
    return {frozenset(np.flatnonzero(numbers == number)) for number in np.unique(numbers)}


@pytest.fixture(scope="module")
def faces() -> list[bytes]:
    return [draw_member(index, 96)[1] for index in range(FACES)]


@pytest.fixture(scope="module")
def known(faces) -> np.ndarray:
    return fingerprints(faces)


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Fingerprints of photos that have nothing in common."""
    return np.random.default_rng(seed).integers(0, 2**16, (count, len(PARTS), 16), np.uint16)


def test_drawn_faces_are_nobodys_copies(known):
    assert len(np.unique(groups(known, DISTANCE))) == FACES


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found(kind, faces, known):
    copies = fingerprints(COPIES[kind](images.decode(face)) for face in faces)
    assert share_found(known, copies) >= 0.99


def test_copies_of_copies_are_one_group(faces, known):
    face = images.decode(faces[0])
    copies = fingerprints([encoded(masked(face)), encoded(ImageOps.mirror(face)), encoded(scaled(face, 1 / 2))])
    numbers = groups(np.concatenate([copies[:1], known, copies[1:]]), DISTANCE)
    assert set(np.flatnonzero(numbers == numbers[0])) == {0, 1, FACES + 1, FACES + 2}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_photos_does_not_matter(seed, faces, known):
    crowd = np.repeat(known[:1], 4 * WINDOW, axis=0)
    crowd[:, :, 8:] ^= noise(len(crowd), seed=1)[:, :, 8:] & noise(len(crowd), seed=2)[:, :, 8:]
    crowd = np.concatenate([known, crowd, known[:20]])
    assert WINDOW < len(np.unique(groups(crowd, DISTANCE))) < len(crowd) - 100
    order = np.random.default_rng(seed).permutation(len(crowd))
    shuffled = np.empty(len(crowd), int)
    shuffled[order] = groups(crowd[order], DISTANCE)
    assert together(shuffled) == together(groups(crowd, DISTANCE))


def test_distance_counts_bits():
    photo = noise(1)
    for bits in (DISTANCE, DISTANCE + 1):
        copy = photo ^ np.packbits(np.arange(256) < bits).view(np.uint16)
        assert share_found(photo, copy) == (bits <= DISTANCE)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_photos_without_contrast_are_nobodys_copies(grey):
    photo = Image.new("RGB", (90, 60), (grey,) * 3)
    photo.paste((grey ^ 3,) * 3, (0, 0, 40, 40))
    plain = fingerprint(photo)
    assert not plain.any()
    assert len(np.unique(groups(np.stack([plain] * 50), DISTANCE))) == 50


def test_a_part_without_contrast_says_nothing(faces):
    first, second = (images.decode(face) for face in faces[:2])
    for image in (first, second):
        image.paste("white", (0, 0, image.width, image.height // 2))
    assert len(np.unique(groups(np.stack([fingerprint(first), fingerprint(second)]), DISTANCE))) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3, 2), (2000, 10)])
def test_any_size_has_a_fingerprint(size):
    assert fingerprint(Image.radial_gradient("L").resize(size)).shape == (len(PARTS), 16)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_photos_are_no_special_case(count):
    assert len(np.unique(groups(noise(count), DISTANCE))) == count


def test_thousands_of_copies_are_one_group_and_cost_no_more_than_linear():
    crowd = np.concatenate([np.repeat(noise(1, seed=1), 3000, axis=0), noise(1000)])
    numbers = groups(crowd, DISTANCE)
    assert len(np.unique(numbers)) == 1001
    assert len(np.unique(numbers[:3000])) == 1
    assert sum(len(left) for left, _ in neighbours(crowd[:, 0])) < 16 * WINDOW * len(crowd)


@pytest.mark.real
def test_copies_of_real_photos_are_found_and_nothing_percolates(shared):
    with zipfile.ZipFile(shared / "data/face-mask-3833.zip") as archive:
        members = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in images.SUFFIXES]
        contents = [archive.read(name) for name in members[::9]]
    known = fingerprints(contents)
    sizes = np.unique(groups(known, DISTANCE), return_counts=True)[1]
    assert len(sizes) > 0.95 * len(known)
    assert sizes.max() < 6
    photos = [images.decode(content) for content in contents[:300:3]]
    for kind, copy in COPIES.items():
        assert share_found(known[:300:3], fingerprints(map(copy, photos))) >= 0.98, kind
