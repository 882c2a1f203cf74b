"""Every network of keras.applications, by name: resnet50, efficientnet_b0, mobilenet_v3_small ..."""

import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.errors import UserError
from facemask.core.terminal import silenced

if TYPE_CHECKING:
    import keras

# EfficientNet's Normalization layer divides by the square root of ImageNet's standard deviations, but the network was
# trained with the deviations themselves. Keras corrects that after the layer, but only if it downloads the weights.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


@functools.cache
def networks() -> dict[str, Callable[..., "keras.Model"]]:
    """The functions of keras.applications by name in snake case."""
    import keras

    return {
        re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("NeXt", "next").replace("Net", "net")).lower(): function
        for name, function in inspect.getmembers(keras.applications, inspect.isfunction)
    }


def preprocess(
    pixels: "keras.KerasTensor", function: Callable[..., "keras.Model"], weights: str
) -> "keras.KerasTensor":
    """The network's own preprocess_input for uint8 pixels, in layers that can be saved and converted.

    It is affine in every channel, in some families after swapping red and blue: its values at three colours define it.
    Families that rescale inside the network leave pixels unchanged.
    """
    import keras

    family = sys.modules[function.__module__]
    black, red, white = family.preprocess_input(np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.float64))
    if red[0] == black[0]:
        pixels = keras.ops.flip(pixels, axis=-1)
    scale, offset = (white - black) / 255, black
    if family.__name__.endswith(".efficientnet") and weights != "imagenet":
        scale = IMAGENET_DEVIATION**-0.5
        offset = 255 * IMAGENET_MEAN * (1 - scale)
    if (scale == 1).all() and (offset == 0).all():
        return pixels
    # XNNPACK's int8 kernels take a millisecond for three numbers, and hardly any time for one.
    scale, offset = (float(one[0]) if (one == one[0]).all() else one.tolist() for one in (scale, offset))
    return keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(pixels)


def has_width_multiplier(model: str) -> bool:
    """Whether a network has a width multiplier, as MobileNets do."""
    return model in networks() and "alpha" in inspect.signature(networks()[model]).parameters


def build(model: str, alpha: float, weights: str, image_size: int) -> "keras.Model":
    """Build a network without its top: pixels to (n, channels) features, by global average pooling.

    Raises
    ------
    UserError
        If the image size is too small, or the ImageNet weights cannot be downloaded.
    """
    with silenced():
        import keras

    function = networks()[model]
    shape = (image_size, image_size, 3)
    pixels = keras.Input(shape, dtype="uint8", name="pixels")
    try:
        network = function(
            input_tensor=preprocess(pixels, function, weights),
            input_shape=shape,
            include_top=False,
            pooling="avg",
            weights="imagenet" if weights == "imagenet" else None,
            **({"alpha": alpha} if has_width_multiplier(model) else {}),
        )
    except Exception as error:
        # Messages of Keras can be shown; others may contain the password of a proxy.
        keras_own = type(error) in (Exception, ValueError) and "proxy" not in str(error)
        if keras_own and isinstance(error, ValueError):
            settings = f"alpha {alpha:g} and image_size {image_size}"
            raise UserError(f"model: {model} cannot be built with {settings}: {error}") from None
        if weights != "imagenet":
            raise
        reason = error if keras_own else f"{type(error).__name__}; check network and proxy"
        raise UserError(
            f"weights: imagenet could not be downloaded ({reason}); "
            "give the path of a .weights.h5 file, or none with train_from: input"
        ) from None
    return keras.Model(pixels, network.output, name=model)
