"""Inference with Keras, on a GPU if there is one; equal to LiteRT to about 1e-5."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemask.core import arrays
from facemask.core.terminal import counted

if TYPE_CHECKING:
    import keras

BATCH = 256


def run(network: "keras.Model", inputs: np.ndarray, title: str) -> Iterator[np.ndarray]:
    """The network's outputs for all rows of inputs, in batches, in order."""
    starts = range(0, len(inputs), BATCH)
    for start in counted(starts, title, len(starts), "batches"):
        yield network.predict_on_batch(inputs[start : start + BATCH])


def extract(network: "keras.Model", file: str, inputs: np.ndarray, folder: Path) -> dict[str, str]:
    """As `litert.extract`."""
    outputs = run(network, inputs, file.removesuffix(".npy"))
    shape = (len(inputs), *network.output_shape[1:])
    return {file: arrays.write(folder / file, shape, np.float32, outputs)}
