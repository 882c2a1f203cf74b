"""YOLOv4, YOLOv4-tiny and YOLOv5s as settings of one builder.

YOLOv4 (Bochkovskiy et al., 2020): CSPDarknet53, spatial pyramid pooling, a path aggregation network. YOLOv4-tiny
(Wang et al., "Scaled-YOLOv4", 2021): partial stages that pool, and a top-down path alone. YOLOv5s is the small network
of 2020 in its later form, with C3 stages (CSPNet, Wang et al., 2020, with three convolutions) and pooling in a row.
Trainable parameters with 80 classes: 64,363,101, 6,056,606 and 7,235,389.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facemask.networks.detection.cells import Cells, grid
from facemask.networks.detection.layers import convolution, prior_bias

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor as Tensor

ANCHORS_A_MAP = 3
OBJECT_PRIOR = 0.01


class Settings(NamedTuple):
    """What one YOLO is made of.

    Attributes
    ----------
    activation : str
        Of the trunk.
    stem : sequence of (filters, side, stride)
        The first convolutions.
    stages : sequence of (filters, repeats)
        Each halves the map; the last ones are what the neck reads.
    stage : callable
        Takes a tensor, filters, repeats and the activation; gives what the next stage reads, and the neck.
    neck : callable
        Takes the trunk's maps, finest first, the coarsest after `context`; gives those that are predicted on.
    strides : sequence of int
        Of these.
    """

    activation: str
    stem: Sequence[tuple[int, int, int]]
    stages: Sequence[tuple[int, int]]
    stage: Callable[["Tensor", int, int, str], tuple["Tensor", "Tensor"]]
    neck: Callable[[list["Tensor"]], list["Tensor"]]
    strides: Sequence[int] = (8, 16, 32)


def joined(*tensors: "Tensor") -> "Tensor":
    """Maps of one size, side by side."""
    from keras import layers

    return layers.Concatenate()(list(tensors))


def doubled(inputs: "Tensor") -> "Tensor":
    """A map of twice the side."""
    from keras import layers

    return layers.UpSampling2D()(inputs)


def residual(inputs: "Tensor", narrow: int, wide: int, activation: str) -> "Tensor":
    """A bottleneck with its shortcut."""
    from keras import layers

    outputs = convolution(convolution(inputs, narrow, 1, activation), wide, 3, activation)
    return layers.Add()([inputs, outputs])


def darknet_stage(inputs: "Tensor", filters: int, repeats: int, activation: str) -> tuple["Tensor", "Tensor"]:
    """A stage of CSPDarknet53: half of the channels goes through the bottlenecks; the first stage splits none off."""
    first = repeats == 1
    width = filters if first else filters // 2
    inputs = convolution(inputs, filters, 3, activation, 2)
    aside = convolution(inputs, width, 1, activation)
    through = convolution(inputs, width, 1, activation)
    for _ in range(repeats):
        through = residual(through, width // 2 if first else width, width, activation)
    through = convolution(through, width, 1, activation)
    outputs = convolution(joined(through, aside), filters, 1, activation)
    return outputs, outputs


def tiny_stage(inputs: "Tensor", filters: int, repeats: int, activation: str) -> tuple["Tensor", "Tensor"]:
    """A stage of YOLOv4-tiny: the second half of the channels goes on, all are kept, and pooling halves the map."""
    from keras import layers

    whole = convolution(inputs, filters, 3, activation)
    first = convolution(whole[..., filters // 2 :], filters // 2, 3, activation)
    second = convolution(first, filters // 2, 3, activation)
    inner = convolution(joined(second, first), filters, 1, activation)
    return layers.MaxPooling2D()(joined(whole, inner)), inner


def three_convolutions(
    inputs: "Tensor", filters: int, repeats: int, activation: str, shortcut: bool = True
) -> "Tensor":
    """A C3 block: bottlenecks on one half, the other half beside them, one convolution over both."""
    half = filters // 2
    through = convolution(inputs, half, 1, activation)
    for _ in range(repeats):
        through = (
            residual(through, half, half, activation)
            if shortcut
            else convolution(convolution(through, half, 1, activation), half, 3, activation)
        )
    return convolution(joined(through, convolution(inputs, half, 1, activation)), filters, 1, activation)


def c3_stage(inputs: "Tensor", filters: int, repeats: int, activation: str) -> tuple["Tensor", "Tensor"]:
    """A stage of YOLOv5s."""
    outputs = three_convolutions(convolution(inputs, filters, 3, activation, 2), filters, repeats, activation)
    return outputs, outputs


def five(inputs: "Tensor", filters: int) -> "Tensor":
    """The five convolutions between the joints of YOLOv4's neck."""
    for width, side in ((filters, 1), (2 * filters, 3), (filters, 1), (2 * filters, 3), (filters, 1)):
        inputs = convolution(inputs, width, side, "leaky")
    return inputs


def path_aggregation(maps: list["Tensor"]) -> list["Tensor"]:
    """YOLOv4's neck: spatial pyramid pooling (He et al., 2014), then PANet (Liu et al., 2018), down and up again."""
    from keras import layers

    fine, middle, coarse = maps
    for width, side in ((512, 1), (1024, 3), (512, 1)):
        coarse = convolution(coarse, width, side, "leaky")
    coarse = joined(*(layers.MaxPooling2D(side, 1, "same")(coarse) for side in (13, 9, 5)), coarse)
    for width, side in ((512, 1), (1024, 3), (512, 1)):
        coarse = convolution(coarse, width, side, "leaky")
    from_above = doubled(convolution(coarse, 256, 1, "leaky"))
    middle = five(joined(convolution(middle, 256, 1, "leaky"), from_above), 256)
    from_above = doubled(convolution(middle, 128, 1, "leaky"))
    fine = five(joined(convolution(fine, 128, 1, "leaky"), from_above), 128)
    middle = five(joined(convolution(fine, 256, 3, "leaky", 2), middle), 256)
    coarse = five(joined(convolution(middle, 512, 3, "leaky", 2), coarse), 512)
    return [convolution(one, width, 3, "leaky") for one, width in ((fine, 256), (middle, 512), (coarse, 1024))]


def top_down(maps: list["Tensor"]) -> list["Tensor"]:
    """YOLOv4-tiny's neck, of two maps; the coarser is the pooled output of the last stage."""
    middle, coarse = maps
    coarse = convolution(convolution(coarse, 512, 3, "leaky"), 256, 1, "leaky")
    middle = joined(doubled(convolution(coarse, 128, 1, "leaky")), middle)
    return [convolution(middle, 256, 3, "leaky"), convolution(coarse, 512, 3, "leaky")]


def c3_aggregation(maps: list["Tensor"]) -> list["Tensor"]:
    """YOLOv5s' neck: pooling in a row, then PANet of C3 blocks."""
    from keras import layers

    fine, middle, coarse = maps
    pooled = [convolution(coarse, 256, 1, "silu")]
    for _ in range(3):
        pooled.append(layers.MaxPooling2D(5, 1, "same")(pooled[-1]))
    coarse = convolution(convolution(joined(*pooled), 512, 1, "silu"), 256, 1, "silu")
    middle = three_convolutions(joined(doubled(coarse), middle), 256, 1, "silu", shortcut=False)
    middle = convolution(middle, 128, 1, "silu")
    fine = three_convolutions(joined(doubled(middle), fine), 128, 1, "silu", shortcut=False)
    middle = joined(convolution(fine, 128, 3, "silu", 2), middle)
    middle = three_convolutions(middle, 256, 1, "silu", shortcut=False)
    coarse = joined(convolution(middle, 256, 3, "silu", 2), coarse)
    return [fine, middle, three_convolutions(coarse, 512, 1, "silu", shortcut=False)]


NETWORKS = {
    "yolov4": Settings(
        "mish", [(32, 3, 1)], [(64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)], darknet_stage, path_aggregation
    ),
    "yolov4_tiny": Settings(
        "leaky", [(32, 3, 2), (64, 3, 2)], [(64, 1), (128, 1), (256, 1)], tiny_stage, top_down, (16, 32)
    ),
    "yolov5s": Settings(
        "silu", [(32, 6, 2)], [(64, 1), (128, 2), (256, 3), (512, 1)], c3_stage, c3_aggregation
    ),
}  # fmt: skip


def build(model: str, image_size: int, classes: int, anchors: np.ndarray) -> tuple["keras.Model", Cells]:
    """One of `NETWORKS`, untrained, and its cells.

    Parameters
    ----------
    anchors : ndarray (maps * `ANCHORS_A_MAP`, 2)
        Width and height in pixels, the smallest first; the finest map takes the smallest.
    """
    import keras
    from keras import layers

    settings = NETWORKS[model]
    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    outputs = layers.Rescaling(1 / 255, name="preprocessing")(pixels)
    for filters, side, stride in settings.stem:
        outputs = convolution(outputs, filters, side, settings.activation, stride)
    maps = []
    for filters, repeats in settings.stages:
        outputs, seen = settings.stage(outputs, filters, repeats, settings.activation)
        maps.append(seen)
    if outputs is not maps[-1]:
        maps.append(outputs)
    count = len(settings.strides)
    rows = [predicted(one, classes) for one in settings.neck(maps[-count:])]
    cells = grid(image_size, settings.strides, np.split(anchors, count))
    return keras.Model(pixels, layers.Concatenate(axis=1, name="raw")(rows), name=model), cells


def predicted(inputs: "Tensor", classes: int) -> "Tensor":
    """Raw outputs (n, rows, 5 + classes) of a map; at first objects are as rare as `OBJECT_PRIOR`."""
    from keras import layers

    bias = prior_bias([*[0.5] * 4, OBJECT_PRIOR, *[0.5] * classes] * ANCHORS_A_MAP)
    outputs = layers.Conv2D(ANCHORS_A_MAP * (5 + classes), 1, bias_initializer=bias)(inputs)
    return layers.Reshape((-1, 5 + classes))(outputs)
