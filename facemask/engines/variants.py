"""Export: a .tflite a variant, each evaluated and timed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from facemask.engines import litert

if TYPE_CHECKING:
    from facemask.engines.litert import ConcreteFunction


def calibration(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Random training photos, in the order of the shard."""
    return pixels[np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])]


def export(
    frozen: "ConcreteFunction",
    sample: np.ndarray,
    folder: Path,
    files: dict[str, bytes],
    pixels: np.ndarray,
    evaluate: Callable[[np.ndarray], dict[str, float]],
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Write a frozen model as VARIANT.tflite, for each of `litert.VARIANTS`.

    Parameters
    ----------
    sample : ndarray (n, height, width, 3), uint8
        On which int8 is calibrated.
    files : dict
        What is appended to each model, by name.
    pixels : ndarray (n, height, width, 3), uint8
        The test split.
    evaluate : callable
        Takes the outputs for these; returns metrics by name.

    Returns
    -------
    (variants, milliseconds)
        A row a variant: its name, the metrics and its bytes; and the latency of one photo by variant.
    """
    rows, milliseconds = [], {}
    for variant in litert.VARIANTS:
        model = litert.convert(frozen, variant, sample)
        for name, content in files.items():
            model = litert.with_file(model, name, content)
        (folder / f"{variant}.tflite").write_bytes(model)
        outputs = np.concatenate(list(litert.run(model, pixels, variant)))
        rows.append({"variant": variant, **evaluate(outputs), "bytes": len(model)})
        milliseconds[variant] = litert.latency(model, pixels[0])
    return pd.DataFrame(rows), milliseconds
