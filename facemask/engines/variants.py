"""Export: a .tflite a variant, each evaluated and timed. TensorFlow is not needed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from facemask.core.terminal import silenced
from facemask.engines import litert, tflite

if TYPE_CHECKING:
    from ai_edge_quantizer.recipe_manager import RecipeManager

VARIANTS = ("float32", "float16", "int8")


def calibration(pixels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Random training photos, in the order of the shard."""
    return pixels[np.sort(np.random.default_rng(seed).permutation(len(pixels))[:count])]


def recipe(variant: str) -> "RecipeManager":
    """What ai-edge-quantizer does for a variant.

    float16: weights in float16, calculation in float32. int8: weights, by channel, and activations in int8; the input
    stays uint8, the output float32.
    """
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )
    from ai_edge_quantizer.recipe_manager import RecipeManager

    steps = RecipeManager()
    everywhere = {"regex": ".*", "operation_name": TFLOperationName.ALL_SUPPORTED}
    if variant == "float16":
        half = OpQuantizationConfig(
            weight_tensor_config=TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT),
            compute_precision=ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        steps.add_quantization_config(**everywhere, op_config=half, algorithm_key=AlgorithmName.FLOAT_CASTING)
    if variant == "int8":
        steps.add_static_config(**everywhere, activation_num_bits=8, weight_num_bits=8)
        steps.add_quantization_config(
            regex=".*", operation_name=TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    return steps


def quantise(model: bytes, variant: str, sample: np.ndarray) -> bytes:
    """A variant of a .tflite model of `litert.convert`.

    Parameters
    ----------
    variant : str
        One of `VARIANTS`.
    sample : ndarray (n, height, width, 3), uint8
        Representative photos, for the ranges of int8.
    """
    if variant == "float32":
        return model
    with silenced():
        from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
        from ai_edge_quantizer.quantizer import Quantizer
        from ai_edge_quantizer.utils.qsv_utils import min_max_update

        steps, ranges = recipe(variant), None
        quantizer = Quantizer(model, steps.get_quantization_recipe())
        if quantizer.need_calibration:
            # By default the ranges are moving averages over the photos, which cut off what few photos reach.
            calibrator = Calibrator(model, 1, CalibrationMode.CALIBRATION_PROFILER_BASED, min_max_update)
            calibrator.calibrate({tflite.SIGNATURE: [{tflite.INPUT: photo[None]} for photo in sample]}, steps)
            ranges = calibrator.get_model_qsvs()
        quantised = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(quantised.quantized_model)


def export(
    model: bytes,
    sample: np.ndarray,
    folder: Path,
    files: dict[str, bytes],
    pixels: np.ndarray,
    evaluate: Callable[[np.ndarray], dict[str, float]],
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Write a .tflite model of `litert.convert` as VARIANT.tflite, for each of `VARIANTS`.

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
    for variant in VARIANTS:
        content = quantise(model, variant, sample)
        for name, file in files.items():
            content = litert.with_file(content, name, file)
        (folder / f"{variant}.tflite").write_bytes(content)
        outputs = np.concatenate(list(litert.run(content, pixels, variant)))
        rows.append({"variant": variant, **evaluate(outputs), "bytes": len(content)})
        milliseconds[variant] = litert.latency(content, pixels[0])
    return pd.DataFrame(rows), milliseconds
