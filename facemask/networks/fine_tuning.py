"""Fine-tuning: a backbone is cut into a frozen trunk and a trainable top, followed by a head."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from facemask.core.errors import UserError
from facemask.networks import training
from facemask.networks.head import Head
from facemask.networks.training import Photos, Report, Training

if TYPE_CHECKING:
    import keras


def give_weights(model: "keras.Model", weights: "list[np.ndarray]") -> None:
    """Set a model's weights, also where a layer computes with another form of them, as those of an EfficientNet do.

    Raises
    ------
    ValueError
        If they are not of such a model.
    """
    import keras

    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def load(file: Path) -> "keras.Model":
    """Load a `.keras` file in safe mode: it may be untrusted, so code in it is refused, not run.

    Raises
    ------
    UserError
        If it is missing, is not a `.keras` file, or contains more than Keras' own layers and their weights.
    """
    import keras

    again = "train it here with: dvc repro"
    if not zipfile.is_zipfile(file):
        raise UserError(f"{file} is missing, or not a complete .keras file; {again}")
    try:
        return keras.saving.load_model(file)
    except Exception as error:  # its readers of JSON, zip and HDF5 raise many kinds
        reason = str(error).split(". ")[0]
        raise UserError(f"{file} cannot be loaded in safe mode ({' '.join(reason.split())}); {again}") from None


def cut(backbone: "keras.Model", train_from: str) -> tuple["keras.Model | None", "keras.Model | None"]:
    """Cut a backbone into (trunk, top): the frozen part and the trained part.

    Parameters
    ----------
    train_from : str
        `head`: the whole backbone is frozen, top is None. `input`: all of it is trained, trunk is None. Otherwise the
        first layer to train.

    Raises
    ------
    UserError
        If there is no such layer, it has no weights, or a skip connection passes it.
    """
    import keras

    if train_from == "head":
        return backbone, None
    if train_from == "input":
        return None, backbone
    offered = cut_names(backbone)
    if train_from not in offered:
        known = train_from in {layer.name for layer in backbone.layers}
        problem = f"cannot start at {train_from}" if known else f"has no layer {train_from!r}"
        raise UserError(f"train_from: {backbone.name} {problem}; give head, input or one of: {', '.join(offered)}")
    boundary = backbone.get_layer(train_from).input
    return keras.Model(backbone.input, boundary, name="trunk"), keras.Model(boundary, backbone.output, name="top")


def cut_names(backbone: "keras.Model") -> list[str]:
    """The layers with weights at which the network can be cut: their input is all that the rest needs."""

    def inputs(layer: "keras.Layer") -> list[int]:
        return [id(tensor) for tensor in (layer.input if isinstance(layer.input, list) else [layer.input])]

    # Symbolic tensors are compared by identity: == would build a graph. Some networks add and multiply outside of
    # layers, which only `operations` lists.
    maker = {id(operation.output): position for position, operation in enumerate(backbone.operations)}
    names = []
    for position, layer in enumerate(backbone.operations[1:], start=1):
        behind = backbone.operations[position:]
        crossing = {tensor for later in behind for tensor in inputs(later) if maker[tensor] < position}
        if getattr(layer, "weights", None) and crossing == set(inputs(layer)):
            names.append(layer.name)
    return names


def build_trainable(
    top: "keras.Model | None", input_shape: tuple[int, ...], dtype: str, head: Head, classes: int, pretrained: bool
) -> "keras.Model":
    """The trained part: the top of the backbone, the head, and a softmax over the classes.

    Pretrained batch normalisation is frozen: the statistics of a few thousand photos would be worse.
    """
    import keras

    inputs = keras.Input(input_shape, dtype=dtype)
    outputs = inputs
    if top is not None:
        if pretrained:
            for layer in top.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        outputs = top(outputs)
    for units, rate in zip(head.units, head.dropout, strict=True):
        outputs = keras.layers.Dense(units, activation="relu")(outputs)
        outputs = keras.layers.Dropout(rate)(outputs)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(outputs)
    return keras.Model(inputs, outputs, name="trainable")


def join(trunk: "keras.Model | None", trainable: "keras.Model", image_size: int) -> "keras.Model":
    """The whole classifier: (n, image_size, image_size, 3) uint8 to (n, classes) probabilities."""
    import keras

    pixels = keras.Input((image_size, image_size, 3), dtype="uint8", name="pixels")
    features = pixels if trunk is None else trunk(pixels)
    return keras.Model(pixels, trainable(features), name="facemask")


class Tuned:
    """The trained part as a Keras model, with the methods of a `DenseHead`."""

    def __init__(self, model: "keras.Model", batch_size: int):
        self.model, self.batch_size = model, batch_size

    @property
    def weights(self) -> list[np.ndarray]:
        """All weights, as `get_weights` orders them."""
        return self.model.get_weights()

    def divide_logits(self, temperature: float) -> None:
        """Temperature scaling, in the last layer."""
        last = self.model.get_layer("probabilities")
        last.set_weights([weight / temperature for weight in last.get_weights()])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes), float32, for inputs that may be memory-mapped."""
        return predict(self.model, inputs, self.batch_size)

    def fit(self, train: Photos, validation: Photos, settings: Training, report: Report | None = None) -> pd.DataFrame:
        """Train in place, as `training.fit`."""
        return training.fit(self.model, train, validation, settings, report)


def predict(model: "keras.Model", inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Probabilities (n, classes), float32, for inputs that may be memory-mapped."""
    starts = range(0, len(inputs), batch_size)
    return np.concatenate([model.predict_on_batch(inputs[start : start + batch_size]) for start in starts])
