"""Photos in the formats that occur: decoded correctly, or refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from facemask.data.images import ImageError, cut_out, decode, resize, size


def picture(height: int = 24, width: int = 36) -> np.ndarray:
    """A smooth picture with a different colour in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width], axis=-1).astype(np.uint8)


def encode(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


RGB = Image.fromarray(picture())


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (encode(RGB, "PNG"), 0),
        (encode(RGB, "BMP"), 0),
        (encode(RGB, "JPEG", quality=95, subsampling=0), 8),
        (encode(RGB.convert("CMYK"), "JPEG", quality=95, subsampling=0), 10),
        (encode(RGB.convert("RGBA"), "PNG"), 0),
        (encode(RGB, "WEBP", lossless=True), 0),
        (encode(RGB.quantize(256), "PNG"), 24),
        (encode(RGB, "GIF", save_all=True, append_images=[Image.new("RGB", RGB.size)]), 40),
    ],
    ids=["png", "bmp", "jpeg", "cmyk", "rgba", "webp", "palette", "animated"],
)
def test_every_kind_of_file_gives_its_pixels(content, tolerance):
    difference = np.abs(np.asarray(decode(content), int) - picture())
    assert difference.max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("brightest", [255, 10])
def test_grey_in_8_and_in_16_bits_is_the_same_photo_however_dark(kind, brightest):
    grey = np.linspace(0, brightest, 24).astype(np.uint8).reshape(4, 6)
    wide = decode(encode(Image.fromarray(grey.astype(np.uint16) * 257), kind))
    assert np.array_equal(np.asarray(wide), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("value", [255, 300])
def test_16_bits_are_scaled_by_their_range_and_not_by_the_photo(kind, value):
    assert (np.asarray(decode(encode(Image.fromarray(np.full((4, 6), value, np.uint16)), kind))) == 1).all()


def test_the_order_of_bytes_in_16_bits_does_not_matter():
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    swapped = b"MM\0*" + struct.pack(">I", 8 + 48) + (grey.astype(">u2") * 257).tobytes()
    tags = [(256, 6), (257, 4), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 48)]
    swapped = swapped[:4] + struct.pack(">I", 56) + swapped[8:] + struct.pack(">H", len(tags))
    swapped += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    assert np.array_equal(np.asarray(decode(swapped))[..., 0], grey)


def test_floats_from_0_to_1_are_grey_and_unknown_ranges_are_refused():
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    grey = np.asarray(decode(encode(Image.fromarray(values), "TIFF")), int)[..., 0]
    assert np.abs(grey - 255 * values).max() <= 0.5
    for odd in (values * 255, values - 0.5, np.where(values == 1, np.nan, values).astype(np.float32)):
        with pytest.raises(ImageError, match=r"^floats from .* to .*; 0 \(black\) to 1 \(white\) are understood"):
            decode(encode(Image.fromarray(odd), "TIFF"))
    with pytest.raises(ImageError, match="grey of 32 bits"):
        decode(encode(Image.fromarray((values * 1000).astype(np.int32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_transparent_pixels_are_white(mode):
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    stored = image.quantize(4) if mode == "P" else image.convert(mode)
    content = encode(stored, "PNG", **({"transparency": 0} if mode == "P" else {}))
    assert np.asarray(decode(content)).min() == 255


def test_transparent_grey_of_16_bits_is_white():
    content = encode(Image.fromarray(np.array([[0, 257 * 9]], np.uint16)), "PNG", transparency=0)
    assert np.asarray(decode(content))[0, :, 0].tolist() == [255, 9]


def test_a_region_or_the_whole_photo_is_resized_to_a_square():
    pixels = np.random.default_rng(2).integers(0, 255, (40, 60, 3), np.uint8)
    content = encode(Image.fromarray(pixels), "PNG")
    assert np.array_equal(cut_out(content, (10, 5, 30, 25), 20), pixels[5:25, 10:30])
    averaged = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(cut_out(content, None, 20), np.asarray(averaged))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_for_every_exif_orientation(orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = RGB.transpose(turns[orientation]) if orientation in turns else RGB
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        content = encode(stored, kind, exif=exif)
        assert np.array_equal(np.asarray(decode(content)), picture())
        assert size(content) == RGB.size


TAGS = [0x0100, 0x010F, 0x011A, 0x011B, 0x0132, 0x829A, 0x8769, 0x8825, 0x927C, 0x9286, 0x9C9B, 0xA005]


def exif_of(entries: list[tuple[int, int, int, int]]) -> bytes:
    """An EXIF block of entries (tag, type, count, value or offset)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(40)


def with_exif(kind: str, block: bytes) -> bytes:
    """The picture, stored turned, with an EXIF block as it is; Pillow would check what it writes."""
    content = encode(RGB.transpose(Image.Transpose.ROTATE_90), kind, **({"quality": 95} if kind == "JPEG" else {}))
    if kind == "JPEG":
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    chunk = b"eXIf" + block[6:]
    return (
        content[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]
    )


FIELDS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2, 4, 8, 50, 2**31])
ENTRIES = st.lists(
    st.tuples(st.sampled_from(TAGS), st.integers(0, 14), FIELDS, FIELDS), max_size=5, unique_by=lambda e: e[0]
)


@settings(max_examples=500)
@given(st.sampled_from(["JPEG", "PNG"]), ENTRIES)
@example("JPEG", [(0x8769, 2, 4, 0)])
@example("PNG", [(0x011A, 7, 1000, 2**31)])
def test_other_exif_tags_do_not_matter(kind, entries):
    photo = decode(with_exif(kind, exif_of([(0x0112, 3, 1, 6), *entries])))
    assert np.abs(np.asarray(photo, int) - picture()).max() <= 24


@given(st.sampled_from(["JPEG", "PNG"]), st.binary(max_size=80))
def test_invalid_exif_leaves_the_photo_as_stored(kind, block):
    assert decode(with_exif(kind, b"Exif\0\0" + block)).size == (24, 36)


def tiled(side: int, tile: int) -> bytes:
    """The head of a TIFF, square, of one square tile that is larger."""
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), (322, 4, tile),
               (323, 4, tile), (324, 4, 0), (325, 4, 0)]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4)


def scanned(count: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    content = encode(RGB, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def test_a_progressive_photo_is_a_photo():
    assert decode(encode(RGB, "JPEG", progressive=True)).size == RGB.size


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html></html>", "not an image"),
        (encode(RGB, "JPEG")[:-300], "cannot be decoded"),
        (encode(RGB, "PNG")[:-100], "cannot be decoded"),
        (encode(Image.new("1", (20_000, 6_000)), "PNG"), "20000 x 6000 pixels"),
        (tiled(64, 16_384), "tiles of 268,435,456 pixels; 50,000,000 are allowed"),
        (scanned(101), "more than 100 scans"),
    ],
    ids=["empty", "html", "short jpeg", "short png", "120 megapixels", "large tile", "many scans"],
)
def test_a_photo_that_cannot_be_read_has_a_reason(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode(content)


def test_one_pixel_is_a_photo():
    assert resize(decode(encode(Image.new("RGB", (1, 1), "red"), "PNG")), 32).shape == (32, 32, 3)


def test_a_large_photo_is_cut_out_as_it_is_predicted():
    content = encode(Image.fromarray(picture(1200, 1600)), "JPEG", quality=95)
    assert (cut_out(content, None, 64) == resize(decode(content), 64)).all()


def test_reduced_decoding_is_close_to_full_decoding():
    large = Image.fromarray(picture(1200, 1600))
    content = encode(large, "JPEG", quality=95)
    whole, small = resize(decode(content), 64), resize(decode(content, at_least=64), 64)
    assert np.abs(whole.astype(int) - small).max() <= 6
    assert decode(content, at_least=64).width < 1600
