"""MobileNetV2, a network for phones (Sandler et al. 2018, arXiv:1801.04381)."""

from typing import TYPE_CHECKING

from facemask.errors import UserError
from facemask.params import Params, weights_file
from facemask.terminal import silenced

if TYPE_CHECKING:
    import keras

SCRATCH_MOMENTUM = 0.9


def build(params: Params) -> "keras.Model":
    """MobileNetV2 without its classifier: raw pixels to (n, 1280 or more) averaged features.

    Raises
    ------
    UserError
        If the weights cannot be had or do not fit.
    """
    import keras

    file = weights_file(params.weights)
    pixels = keras.Input((params.image_size, params.image_size, 3), dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(pixels)
    try:
        network = keras.applications.MobileNetV2(
            input_tensor=scaled,
            alpha=params.alpha,
            include_top=False,
            pooling="avg",
            weights="imagenet" if params.weights == "imagenet" else None,
        )
    except ValueError as error:
        raise UserError(f"alpha: {error}") from None
    except Exception as error:
        if params.weights != "imagenet":
            raise
        raise UserError(
            f"weights: imagenet could not be downloaded ({error}); "
            "give the path of a .weights.h5 file, or none with train_from: input"
        ) from None
    if file:
        try:
            with silenced():
                network.load_weights(file)
        except (ValueError, OSError) as error:
            raise UserError(f"weights: {file} does not fit mobilenet_v2, alpha {params.alpha}: {error}") from None
    elif params.weights == "none":
        for layer in network.layers:
            # Keras' 0.999 suits ImageNet; in a short training its averages would lag thousands of steps behind.
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = SCRATCH_MOMENTUM
    return keras.Model(pixels, network.output, name="mobilenet_v2")
