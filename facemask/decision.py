"""From probabilities to a class, in the pipeline and in the predictor."""

import numpy as np


def decide(probabilities: np.ndarray, classes: list[str], label: str, threshold: float | None) -> np.ndarray:
    """The class of every row of probabilities (n, classes), as indices (n,).

    Without a threshold it is the likeliest. With one it is `label` wherever that has at least this
    probability, and the likeliest of the others elsewhere.
    """
    if threshold is None:
        return probabilities.argmax(axis=1)
    index = classes.index(label)
    others = np.where(np.arange(len(classes)) == index, -1.0, probabilities).argmax(axis=1)
    return np.where(probabilities[:, index] >= threshold, index, others)
