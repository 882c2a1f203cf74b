"""Run a network with Keras, on a GPU if there is one: other last bits than LiteRT's, equal to about 1e-5."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    import keras

BATCH = 256


def run(network: "keras.Model", inputs: np.ndarray, title: str) -> Iterator[np.ndarray]:
    """The network's output for all rows of inputs, some rows at a time, in order."""
    for start in tqdm(range(0, len(inputs), BATCH), desc=title, unit="batch"):
        yield network.predict_on_batch(inputs[start : start + BATCH])
