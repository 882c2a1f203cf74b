"""One way to decode a photo and one way to resize it, in the pipeline and in the predictor."""

import io

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535  # of a JPEG; Pillow needs memory for every row, however short
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".avif", ".tif", ".tiff"}
# Pillow goes by content, and would hand some formats to other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "AVIF", "TIFF")

Image.MAX_IMAGE_PIXELS = None


class ImageError(Exception):
    """A photo that cannot be read; the message is the reason."""


def decode(content: bytes, at_least: int | None = None) -> Image.Image:
    """Decode a photo to upright RGB.

    The first frame of an animation is taken, transparency is laid on white, 16-bit grey is
    scaled to 8 bits, and the EXIF orientation is applied.

    Parameters
    ----------
    content : bytes
        The file, in any of `FORMATS`; its content tells which.
    at_least : int, optional
        A JPEG may be decoded smaller, with both sides still at least twice this many pixels.

    Raises
    ------
    ImageError
        If the file is empty, broken, cut short, larger than `MAX_PIXELS`, or longer than `MAX_SIDE`.
    """
    if not content:
        raise ImageError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width} x {image.height} pixels; {MAX_PIXELS:,} are allowed")
            if max(image.size) > MAX_SIDE:
                raise ImageError(f"{image.width} x {image.height} pixels; a side of {MAX_SIDE:,} is allowed")
            if at_least:
                image.draft("RGB", (2 * at_least, 2 * at_least))
            image.load()
            return ImageOps.exif_transpose(to_rgb(image))
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError("not an image") from None
    except Exception as error:  # Pillow's decoders raise whatever their format's parser does
        raise ImageError(f"cannot be decoded: {error}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB, keeping the EXIF orientation in `info`."""
    exif = image.getexif()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        scale = 255 / 65535 if values.max() > 255 else 1
        image = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    image = image.convert("RGB")
    image.info["exif"] = exif.tobytes()
    return image


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Squeeze to a square, averaging over the pixels that become one.

    Returns
    -------
    ndarray (size, size, 3), uint8
    """
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def cut_out(content: bytes, box: tuple[int, int, int, int] | None, size: int) -> np.ndarray:
    """Decode a photo and squeeze a region of it to a square.

    Parameters
    ----------
    box : (left, top, right, bottom)
        In pixels of the upright photo; None is the whole photo.

    Returns
    -------
    ndarray (size, size, 3), uint8
    """
    if box is None:
        return resize(decode(content, at_least=size), size)
    return resize(decode(content).crop(box), size)
