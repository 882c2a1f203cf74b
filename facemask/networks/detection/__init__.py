"""Detectors: networks from a square photo to boxes and classes, what they are trained with, and how they are read.

A detector looks at a photo in *cells*, the squares of 8, 16 and 32 pixels that its three maps divide it into, and
predicts for each what is there. `raw` outputs are what it is trained on; `decoded` ones are boxes and scores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facemask.core.errors import UserError
from facemask.networks import applications, fine_tuning, weights_file
from facemask.networks.detection import anchor_free, yolo
from facemask.networks.detection.cells import Cells, decode

if TYPE_CHECKING:
    import keras

COARSEST = 32  # pixels; the side of a photo is a multiple of it
SUFFIX = ".keras"  # of the file of a trained detector


class Detector(NamedTuple):
    """A detector before it is trained.

    Attributes
    ----------
    network : keras.Model
        (n, size, size, 3) uint8 to raw outputs (n, rows, channels) float32.
    cells : Cells
        What each of the rows is about.
    pretrained : list of keras.Variable
        The weights that are trained, and have been before: of a trunk. The rest has random initialisation.
    """

    network: "keras.Model"
    cells: Cells
    pretrained: "Sequence[keras.Variable]" = ()


def anchor_count(model: str) -> int:
    """How many anchors a network takes; none where it predicts boxes without them."""
    return yolo.ANCHORS_A_MAP * len(yolo.NETWORKS[model].strides) if model in yolo.NETWORKS else 0


def check(model: str, alpha: float, weights: str, train_from: str, image_size: int) -> None:
    """Refuse, before anything is built, what `build` cannot build; parameters as there.

    Raises
    ------
    UserError
        If the maps would not cover the photo, or a YOLO is given what it does not have.
    """
    if image_size % COARSEST:
        raise UserError(f"image_size: {image_size} is no multiple of {COARSEST}, the coarsest cell of a detector")
    if model in yolo.NETWORKS and (weights, alpha, train_from) != ("none", 1, "input"):  # anchors are no weights
        raise UserError(f"model: {model} begins untrained; set alpha: 1.0, train_from: input, and weights: none")


def build(
    model: str,
    alpha: float,
    weights: str,
    train_from: str,
    neck: int,
    image_size: int,
    classes: int,
    anchors: np.ndarray | None,
) -> Detector:
    """Build a detector with its first weights.

    Parameters
    ----------
    model : str
        yolov4, yolov4_tiny, yolov5s, or a trunk: any network of keras.applications that has maps of strides 8, 16, 32.
    alpha, weights : float, str
        As of a classifier's backbone; a YOLO has one width and no weights of others. Behind a trunk weights may be the
        `.keras` file of a trained detector of the same network and classes, for photos of any size.
    train_from : str
        Of a trunk: `input` trains all of it, `head` nothing, a layer's name what lies from there on.
    neck : int
        Channels of neck and head behind a trunk.
    anchors : ndarray (n, 2), optional
        Width and height in pixels, the smallest first, for a YOLO: as many as `anchor_count` says.

    Raises
    ------
    UserError
        If there is no such network, or it cannot be built so.
    ValueError
        If a YOLO gets no anchors.
    """
    check(model, alpha, weights, train_from, image_size)
    trained = weights_file(weights) if weights.endswith(SUFFIX) else None
    of_trunk = "none" if trained else weights
    if model in yolo.NETWORKS:
        if anchors is None:
            raise ValueError(f"{model} needs anchors")
        detector = Detector(*yolo.build(model, image_size, classes, anchors))
    elif model in applications.networks():
        pretrained = weights != "none"
        detector = Detector(
            *anchor_free.build(model, alpha, of_trunk, pretrained, train_from, image_size, classes, neck)
        )
    else:
        known = ", ".join([*yolo.NETWORKS, *applications.networks()])
        raise UserError(f"model: there is no {model}; give one of: {known}")
    if trained:
        take_weights(detector.network, trained)
    return detector


def take_weights(network: "keras.Model", file: Path) -> None:
    """Give a network the weights of a trained detector.

    Raises
    ------
    UserError
        If the file cannot be loaded, or is of another network.
    """
    trained = fine_tuning.load(file)
    try:
        fine_tuning.give_weights(network, trained.get_weights())
    except ValueError as error:
        raise UserError(f"weights: {file} is not a trained {network.name} with these parameters: {error}") from None


def decoded(detector: Detector) -> "keras.Model":
    """The detector that is exported: (n, size, size, 3) uint8 to (n, rows, 4 + classes) float32.

    Of every row left, top, right and bottom as fractions of the photo's side, then a score for each class, all 0 to 1.
    Non-maximum suppression is outside: LiteRT's own is an operator that not every device has.
    """
    import keras
    from keras import ops

    network, cells, _ = detector
    side = network.input_shape[1]
    boxes, scores = decode(network.output, cells)
    found = ops.concatenate([ops.clip(boxes / side, 0.0, 1.0), scores], axis=-1)
    return keras.Model(network.input, found, name="detector")
