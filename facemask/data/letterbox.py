"""A whole photo in a square: scaled to fit, the rest grey. One way, in the pipeline and in the predictor."""

import numpy as np
from PIL import Image

GREY = 128


def letterbox(image: Image.Image, size: int) -> tuple[np.ndarray, float]:
    """Scale the longer side to `size`, and fill up to a square at the right or below.

    Returns
    -------
    (pixels, scale)
        (size, size, 3) uint8 RGB; what a length in the photo must be multiplied by.
    """
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.full((size, size, 3), GREY, np.uint8)
    pixels[:height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return pixels, scale
