"""Photos as the world has them: read right, or refused with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from facemask.data.images import ImageError, decode, resize


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


def test_grey_in_8_and_in_16_bits_is_the_same_photo():
    grey = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    narrow = decode(encode(Image.fromarray(grey), "PNG"))
    wide = decode(encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    assert np.array_equal(np.asarray(narrow)[..., 0], grey)
    assert np.abs(np.asarray(wide, int) - np.asarray(narrow)).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_what_is_transparent_is_white(mode):
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    stored = image.quantize(4) if mode == "P" else image.convert(mode)
    content = encode(stored, "PNG", **({"transparency": 0} if mode == "P" else {}))
    assert np.asarray(decode(content)).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_whatever_its_exif_says(orientation):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = RGB.transpose(turns[orientation]) if orientation in turns else RGB
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(np.asarray(decode(encode(stored, "PNG", exif=exif))), picture())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html></html>", "not an image"),
        (encode(RGB, "JPEG")[:-300], "cannot be decoded"),
        (encode(RGB, "PNG")[:-100], "cannot be decoded"),
        (encode(Image.new("1", (20_000, 6_000)), "PNG"), "20000 x 6000 pixels"),
    ],
    ids=["empty", "html", "short jpeg", "short png", "120 megapixels"],
)
def test_what_cannot_be_read_has_a_reason(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode(content)


def test_one_pixel_is_a_photo():
    assert resize(decode(encode(Image.new("RGB", (1, 1), "red"), "PNG")), 32).shape == (32, 32, 3)


def test_decoding_small_is_close_to_decoding_whole():
    large = Image.fromarray(picture(1200, 1600))
    content = encode(large, "JPEG", quality=95)
    whole, small = resize(decode(content), 64), resize(decode(content, at_least=64), 64)
    assert np.abs(whole.astype(int) - small).max() <= 6
    assert decode(content, at_least=64).width < 1600
