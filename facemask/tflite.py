"""TensorFlow Lite: conversion, and inference on many photos at once without TensorFlow."""

import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
from tqdm import tqdm

from facemask.terminal import silenced

if TYPE_CHECKING:
    import keras
    from ai_edge_litert.interpreter import Interpreter

VARIANTS = ("float32", "float16", "int8")
ROWS_A_TASK = 32


def convert(model: "keras.Model", variant: str, calibration: np.ndarray | None = None) -> bytes:
    """Convert a Keras model that takes uint8 pixels.

    Parameters
    ----------
    variant : str
        float32; float16: weights of half the size; int8: weights and arithmetic in 8 bits.
    calibration : ndarray (n, height, width, 3), uint8, optional
        Photos on which int8 measures the range of every tensor.
    """
    with silenced():
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.as_dtype(model.inputs[0].dtype))
        function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[signature])
        # Without this, the converter leaves variables as resources, which int8 cannot measure.
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            converter.representative_dataset = lambda: ([pixels[None]] for pixels in calibration)
        return converter.convert()


@functools.lru_cache(maxsize=2)
def interpreter(model: Path, changed_ns: int) -> "Interpreter":
    """One interpreter a process and model file; the time of change tells two files of one name apart."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        opened = Interpreter(str(model), num_threads=1)
        opened.allocate_tensors()
    return opened


def infer(model: Path, changed_ns: int, inputs: np.ndarray) -> np.ndarray:
    """Run a model on each row of inputs; batch 1 is what fits the cache best."""
    runner = interpreter(model, changed_ns)
    entry, exit_ = runner.get_input_details()[0]["index"], runner.get_output_details()[0]["index"]
    outputs = []
    for row in inputs:
        runner.set_tensor(entry, row[None])
        runner.invoke()
        outputs.append(runner.get_tensor(exit_)[0])
    return np.stack(outputs)


def run(model: Path, inputs: np.ndarray, title: str) -> Iterator[np.ndarray]:
    """Run a model on all rows of inputs, one process a core, with a progress bar.

    Every row is computed alone on one thread: neither the number of cores nor the
    neighbours of a row change its bits.

    Yields
    ------
    ndarray (m, ...)
        Outputs of the next m rows, in order.
    """
    model, changed_ns = model.absolute(), model.stat().st_mtime_ns
    starts = range(0, len(inputs), ROWS_A_TASK)
    tasks = (joblib.delayed(infer)(model, changed_ns, inputs[start : start + ROWS_A_TASK]) for start in starts)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=min(joblib.cpu_count(), len(starts)), return_as="generator")
        with tqdm(total=len(inputs), desc=title, unit="photo") as progress:
            for outputs in parallel(tasks):
                yield outputs
                progress.update(len(outputs))


def latency(model: Path, row: np.ndarray, repeats: int = 30) -> float:
    """Median milliseconds for one row on one thread."""
    changed_ns = model.stat().st_mtime_ns
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        infer(model, changed_ns, row[None])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]) * 1000)
