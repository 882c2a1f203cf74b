"""AlexNet (Krizhevsky et al., 2012, doi:10.1145/3065386) on one device, with batch normalisation."""

from typing import TYPE_CHECKING

from facemask.core.errors import UserError

if TYPE_CHECKING:
    import keras

SMALLEST = 67  # pixels; with fewer, the last pooling has an empty output


def build(image_size: int) -> "keras.Model":
    """Map pixels to (n, 4096) features, the output of the second dense layer.

    Most weights are between the last pooling and the first dense layer, so their number depends on the image size: with
    a head of two classes 58,295,042 at 227 pixels, 29,983,490 from 131 to 162, 21,594,882 from 67 to 98.

    Raises
    ------
    UserError
        If the image size is too small.
    """
    import keras
    from keras import layers

    if image_size < SMALLEST:
        raise UserError(f"image_size: alexnet needs {SMALLEST} pixels or more; there are {image_size}")
    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    outputs = layers.Rescaling(1 / 255, name="preprocessing")(pixels)
    for number, (filters, side, stride, padding, pooled) in enumerate(
        [
            (96, 11, 4, "valid", True),
            (256, 5, 1, "same", True),
            (384, 3, 1, "same", False),
            (384, 3, 1, "same", False),
            (256, 3, 1, "same", True),
        ],
        start=1,
    ):
        outputs = layers.Conv2D(filters, side, stride, padding, activation="relu", name=f"conv{number}")(outputs)
        outputs = layers.BatchNormalization(name=f"norm{number}")(outputs)
        if pooled:
            outputs = layers.MaxPooling2D(3, 2, name=f"pool{number}")(outputs)
    outputs = layers.Flatten(name="flatten")(outputs)
    for number in (6, 7):
        outputs = layers.Dense(4096, activation="relu", name=f"dense{number}")(outputs)
        outputs = layers.Dropout(0.5, name=f"dropout{number}")(outputs)
    return keras.Model(pixels, outputs, name="alexnet")
