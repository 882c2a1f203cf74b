"""Decoding and resizing of photos, the same in the pipeline and in prediction."""

import io
import struct
import warnings

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

PACKAGES = ["numpy", "opencv-python-headless", "pillow"]  # whose versions may change pixels
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535  # of a JPEG; Pillow needs memory for every row, however short
MAX_SCANS = 100  # of a progressive JPEG, of which each is decoded over all pixels; encoders write about ten
START_OF_SCAN = b"\xff\xda"
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".avif", ".avifs", ".tif",
    ".tiff",
}  # fmt: skip
# Photos in formats that are not supported.
UNREAD_SUFFIXES = {".heic", ".heif", ".jxl", ".jp2", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
# Pillow detects the format by content; of some formats it would run other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "AVIF", "TIFF")

# The transform that makes a photo upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip

Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # about odd tags, which are not read


class ImageError(Exception):
    """A photo that cannot be read; the message is the reason."""


def decode(content: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a photo to upright RGB.

    Of an animation the first frame is decoded, transparency is composited on white, grey of 16 bits or of floats from
    0 to 1 is scaled to 8 bits, and the EXIF orientation is applied.

    Parameters
    ----------
    content : bytes
        The file, in any of `FORMATS`.
    at_least : int, optional
        A JPEG may be decoded smaller, with both sides still at least twice this many pixels, and less sharp.

    Raises
    ------
    ImageError
        If the file is empty, broken or truncated, has more than `MAX_PIXELS` or a side above `MAX_SIDE`, or has values
        of an unknown range.
    """
    if not content:
        raise ImageError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width} x {image.height} pixels; {MAX_PIXELS:,} are allowed")
            if max(image.size) > MAX_SIDE:
                raise ImageError(f"{image.width} x {image.height} pixels; a side of {MAX_SIDE:,} is allowed")
            refuse_costly(image, content)
            if at_least:
                image.draft("RGB", (2 * at_least, 2 * at_least))
            image.load()
            turn = TURNS.get(orientation(image) or 1)
            rgb = to_rgb(image)
            return rgb if turn is None else rgb.transpose(turn)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("not an image") from None
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ImageError(f"cannot be decoded: {error}") from None


def refuse_costly(image: Image.Image, content: bytes) -> None:
    """Refuse a small file of a small photo that would take much memory or time to decode.

    Raises
    ------
    ImageError
        If the tiles of a TIFF are larger than a photo may be, or a JPEG has more than `MAX_SCANS` scans.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tile = image.tag_v2.get(TiffImagePlugin.TILEWIDTH, 0) * image.tag_v2.get(TiffImagePlugin.TILELENGTH, 0)
        if tile > MAX_PIXELS:
            raise ImageError(f"tiles of {tile:,} pixels; {MAX_PIXELS:,} are allowed")
    elif image.format == "JPEG" and content.count(START_OF_SCAN) > MAX_SCANS:
        raise ImageError(f"more than {MAX_SCANS} scans")


def size(content: bytes) -> tuple[int, int]:
    """Width and height of an upright photo that `decode` can read, in pixels; only its header is read."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        upright = image.format == "TIFF"  # which Pillow turns when it opens one
        lying = (orientation(image) or 1) >= 5
        return image.size[::-1] if lying and not upright else image.size


def orientation(image: Image.Image) -> int | None:
    """The EXIF orientation of a photo; no other tag is read, since any of them may be malformed."""
    try:
        if block := image.info.get("exif"):
            return orientation_in(block.removeprefix(b"Exif\0\0"))
        return image.getexif().get(ExifTags.Base.Orientation)  # which finds it where some programs put it
    except Exception:  # its parsers raise many kinds
        return None


def orientation_in(block: bytes) -> int | None:
    """The orientation in a block of TIFF tags (TIFF 6.0, 1992, section 2), if it is there with a valid type."""
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    start = struct.unpack_from(f"{order}I", block, 4)[0]
    for entry in range(struct.unpack_from(f"{order}H", block, start)[0]):
        place = start + 2 + 12 * entry
        tag, kind = struct.unpack_from(f"{order}HH", block, place)
        if tag == ExifTags.Base.Orientation and kind in (3, 4):
            return struct.unpack_from(f"{order}{'HI'[kind - 3]}", block, place + 8)[0]
    return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB.

    Raises
    ------
    ImageError
        If the range of values is unknown: integers of 32 bits, floats beyond 0 to 1.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        clear = values == image.info.get("transparency", -1)
        image = Image.fromarray(np.where(clear, 255, (values / 257).round()).astype(np.uint8))
    elif image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ImageError(f"floats from {values.min():g} to {values.max():g}; 0 (black) to 1 (white) are understood")
        image = Image.fromarray((255 * values).round().astype(np.uint8))
    elif image.mode == "I":
        raise ImageError("grey of 32 bits; 8 and 16 are understood")
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return image.convert("RGB")


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Resize to a square, averaging over the pixels that become one.

    Returns
    -------
    ndarray (size, size, 3), uint8
    """
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def cut_out(content: bytes, box: tuple[int, int, int, int] | None, size: int) -> np.ndarray:
    """Decode a photo and resize a region of it to a square.

    Parameters
    ----------
    box : (left, top, right, bottom)
        In pixels of the upright photo; None is the whole photo.

    Returns
    -------
    ndarray (size, size, 3), uint8
    """
    image = decode(content)
    return resize(image.crop(box) if box else image, size)
