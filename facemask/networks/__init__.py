"""Networks: one file each, registered here.

A *backbone* maps uint8 RGB pixels to one feature vector a photo: preprocessing is part of the network.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.core.errors import UserError
from facemask.core.repository import resolve
from facemask.core.terminal import silenced
from facemask.networks import alexnet, applications, cnn

if TYPE_CHECKING:
    import keras

SYNTHETIC_OF = "mobilenet_v2", 0.35
SYNTHETIC = Path(__file__).with_name("synthetic.weights.h5")  # made by facemask.experiments.pretrain
BACKBONES = {"alexnet": alexnet.build, "cnn": cnn.build}  # in addition to keras.applications
SCRATCH_MOMENTUM = 0.9


def weights_file(weights: str) -> Path | None:
    """The file that `weights` names, or None for `none` and `imagenet`.

    Raises
    ------
    UserError
        If there is no such file.
    """
    if weights in ("none", "imagenet"):
        return None
    path = SYNTHETIC if weights == "synthetic" else resolve(weights)
    if not path.is_file():
        raise UserError(f"weights: there is no file {path}; give none, imagenet, synthetic or a .weights.h5 file")
    return path


def check_weights(model: str, alpha: float, weights: str, train_from: str) -> None:
    """Refuse, before anything is built, weights that are missing or of another network, and untrained frozen layers.

    Raises
    ------
    UserError
        If there is no such file, the synthetic weights are of another network or width, or there are no weights for
        what `train_from` freezes.
    """
    if weights == "none" and train_from != "input":
        raise UserError(
            f"train_from: {train_from} would freeze untrained layers; with weights: none only train_from: input makes "
            "sense"
        )
    if weights == "synthetic" and (model, alpha) != SYNTHETIC_OF:
        known, width = SYNTHETIC_OF
        raise UserError(f"weights: synthetic are of {known} with alpha {width}; give imagenet, none, or a file")
    weights_file(weights)


def build_backbone(model: str, alpha: float, weights: str, image_size: int) -> "keras.Model":
    """Build a backbone with its initial weights: (n, image_size, image_size, 3) uint8 to (n, channels).

    Parameters
    ----------
    model : str
        A key of `BACKBONES` or a network of keras.applications in snake case.
    alpha : float
        The width multiplier of a MobileNet; 1 for every other network.
    weights : str
        `none` (random initialisation), `imagenet`, `synthetic` (of a MobileNetV2 with width multiplier 0.35, pretrained
        on synthetic faces), or the path of a `.weights.h5` file.
    image_size : int
        Side of the square photos, in pixels.

    Raises
    ------
    UserError
        If there is no such network, it cannot be built with these parameters, or the weights are missing or do not fit.
    """
    import keras

    known = [*BACKBONES, *applications.networks()]
    if model not in known:
        raise UserError(f"model: there is no {model}; give one of: {', '.join(known)}")
    if alpha != 1 and not applications.has_width_multiplier(model):
        raise UserError(f"alpha: {model} has no width multiplier; set alpha to 1.0 (it was {alpha:g})")
    if model in BACKBONES and weights == "imagenet":
        raise UserError(
            f"weights: there are no ImageNet weights for {model}; give none with train_from: input, or a file"
        )
    file = weights_file(weights)
    if model in BACKBONES:
        backbone = BACKBONES[model](image_size)
    else:
        backbone = applications.build(model, alpha, weights, image_size)
    if file:
        try:
            with silenced():
                backbone.load_weights(file)
        except (ValueError, OSError) as error:
            size = f"alpha {alpha:g}, image_size {image_size}"
            why = " ".join(str(error).split())  # Keras lists all values of a layer
            raise UserError(f"weights: {file} does not fit {model}, {size}: {why:.160}") from None
    elif weights == "none":
        for layer in backbone.layers:
            # Keras' momentum of 0.99 suits ImageNet; in a short training the moving averages would lag behind.
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = SCRATCH_MOMENTUM
    return backbone


def synthetic_record() -> dict[str, Any]:
    """What `facemask.experiments.pretrain` recorded about the weights of `weights: synthetic`."""
    return json.loads(SYNTHETIC.with_name("synthetic.json").read_text())
