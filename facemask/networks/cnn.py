"""A plain convolutional network, as in many tutorials."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def build(image_size: int) -> "keras.Model":
    """Three blocks of convolution and pooling, then a dense layer: pixels to (n, 128) features.

    With a head of two classes it has 1,142,210 weights at 64 pixels, 12,938,690 at 224.
    """
    import keras
    from keras import layers

    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    outputs = layers.Rescaling(1 / 255, name="preprocessing")(pixels)
    for number, filters in enumerate((32, 64, 128), start=1):
        outputs = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(outputs)
        outputs = layers.MaxPooling2D(name=f"pool{number}")(outputs)
    outputs = layers.Flatten(name="flatten")(outputs)
    outputs = layers.Dense(128, activation="relu", name="dense4")(outputs)
    outputs = layers.Dropout(0.5, name="dropout4")(outputs)
    return keras.Model(pixels, outputs, name="cnn")
