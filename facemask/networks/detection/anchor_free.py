"""A detector for few photos: a trunk that knows ImageNet, a light neck, a head without anchors.

The neck is a path aggregation network (PANet, Liu et al., 2018) of sums and separable convolutions. The head is
decoupled (YOLOX, Ge et al., 2021) and anchor-free (FCOS, Tian et al., 2019), and its convolutions are the same for all
maps, each with batch normalisation of its own (RTMDet, Lyu et al., 2022): a face is a face at any size, and few photos
then teach all three maps.
"""

from typing import TYPE_CHECKING

from facemask import networks
from facemask.core.errors import UserError
from facemask.networks.detection.cells import Cells, grid
from facemask.networks.detection.layers import MOMENTUM, activate, convolution, prior_bias, separable

if TYPE_CHECKING:
    import keras
    from keras import KerasTensor as Tensor

STRIDES = (8, 16, 32)
HEAD_CONVOLUTIONS = 2
CLASS_PRIOR = 0.01
EDGE_PRIOR = 0.2  # of the reach of a cell


def maps_of(trunk: "keras.Model", image_size: int) -> list["Tensor"]:
    """The last map of each of `STRIDES`: the output of the last layer before the trunk goes on to a coarser map.

    Raises
    ------
    UserError
        If it has none of one of them.
    """
    last = {}
    for layer in trunk.layers[1:]:
        shape: tuple[int | None, ...] = getattr(layer.output, "shape", ())
        if len(shape) == 4 and shape[1] == shape[2]:
            last[shape[1]] = layer.output
    missing = [stride for stride in STRIDES if image_size // stride not in last]
    if missing:
        raise UserError(f"model: {trunk.name} has no map of stride {missing[0]}, which a detector needs")
    return [last[image_size // stride] for stride in STRIDES]


def freeze(trunk: "keras.Model", train_from: str, pretrained: bool) -> None:
    """Leave as it is what lies before a layer, and the batch normalisation of what is pretrained.

    Raises
    ------
    UserError
        If there is no such layer.
    """
    from keras import layers

    names = [layer.name for layer in trunk.layers]
    if train_from not in ("input", "head", *names):
        raise UserError(f"train_from: {trunk.name} has no layer {train_from!r}; give head, input or a layer's name")
    first = {"input": 0, "head": len(names)}.get(train_from)
    first = names.index(train_from) if first is None else first
    for number, layer in enumerate(trunk.layers):
        if number < first or (pretrained and isinstance(layer, layers.BatchNormalization)):
            layer.trainable = False


def aggregate(maps: list["Tensor"], width: int) -> list["Tensor"]:
    """The neck: what the coarse maps know goes down to the fine ones, and what these then know up again."""
    from keras import layers

    maps = [convolution(one, width, 1, "relu6") for one in maps]
    for number in (1, 0):
        from_above = layers.UpSampling2D()(maps[number + 1])
        maps[number] = separable(layers.Add()([maps[number], from_above]), width)
    for number in (1, 2):
        from_below = separable(maps[number - 1], width, 2)
        maps[number] = separable(layers.Add()([maps[number], from_below]), width)
    return maps


def branch(maps: list["Tensor"], width: int, priors: list[float], name: str) -> list["Tensor"]:
    """One half of the head, (n, rows, len(priors)) of each map: its convolutions are shared, its normalisation not."""
    from keras import layers

    for _ in range(HEAD_CONVOLUTIONS):
        across = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        along = layers.Conv2D(width, 1, use_bias=False)
        maps = [
            activate(layers.BatchNormalization(momentum=MOMENTUM, epsilon=1e-3)(along(across(one))), "relu6")
            for one in maps
        ]
    last = layers.Conv2D(len(priors), 1, bias_initializer=prior_bias(priors), name=name)
    return [layers.Reshape((-1, len(priors)))(last(one)) for one in maps]


def build(
    model: str, alpha: float, weights: str, pretrained: bool, train_from: str, image_size: int, classes: int, width: int
) -> tuple["keras.Model", Cells, list["keras.Variable"]]:
    """The detector with its first weights, its cells, and those of its weights that are pretrained and trained.

    Parameters
    ----------
    pretrained : bool
        Whether the trunk's weights are, or will be, of a training, whose batch normalisation is kept.
    width : int
        Channels of neck and head.

    Raises
    ------
    UserError
        If the trunk cannot be built so, or has not the maps that are needed.
    """
    import keras
    from keras import layers

    trunk = networks.build_backbone(model, alpha, weights, image_size)
    freeze(trunk, train_from, pretrained)
    maps = aggregate(maps_of(trunk, image_size), width)
    edges = layers.Concatenate(axis=1)(branch(maps, width, [EDGE_PRIOR] * 4, "edges"))
    scores = layers.Concatenate(axis=1)(branch(maps, width, [CLASS_PRIOR] * classes, "classes"))
    raw = layers.Concatenate(name="raw")([edges, scores])
    network = keras.Model(trunk.input, raw, name=model)
    return network, grid(image_size, STRIDES), trunk.trainable_variables if pretrained else []
