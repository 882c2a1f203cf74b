"""The layers that detectors are made of: convolution, batch normalisation, activation."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9  # of batch normalisation's averages: after Keras' 0.99, short trainings end with those of their start


def activate(inputs: "keras.KerasTensor", activation: str) -> "keras.KerasTensor":
    """An activation by its name: leaky is LeakyReLU of slope 0.1."""
    from keras import layers

    return layers.LeakyReLU(0.1)(inputs) if activation == "leaky" else layers.Activation(activation)(inputs)


def convolution(
    inputs: "keras.KerasTensor", filters: int, side: int, activation: str, stride: int = 1
) -> "keras.KerasTensor":
    """Convolution without a bias, batch normalisation, activation."""
    from keras import layers

    outputs = layers.Conv2D(filters, side, stride, "same", use_bias=False)(inputs)
    return activate(layers.BatchNormalization(momentum=MOMENTUM, epsilon=1e-3)(outputs), activation)


def separable(inputs: "keras.KerasTensor", filters: int, stride: int = 1) -> "keras.KerasTensor":
    """Depthwise-separable convolution (MobileNets, Howard et al., 2017) of side 3."""
    from keras import layers

    outputs = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(inputs)
    return convolution(outputs, filters, 1, "relu6")


def prior_bias(probabilities: Sequence[float]) -> "keras.initializers.Initializer":
    """Biases of logits that say these at first, lest empty cells drown the rest (RetinaNet, Lin et al., 2017)."""
    import keras

    return keras.initializers.Constant([-math.log((1 - one) / one) for one in probabilities])
