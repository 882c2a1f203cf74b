"""LiteRT (TensorFlow Lite): conversion, and inference without TensorFlow."""

import io
import queue
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemask.core import arrays, parallel
from facemask.core.files import EARLIEST_ZIP_DATE
from facemask.core.terminal import silenced

if TYPE_CHECKING:
    import keras

ROWS_A_TASK = 32
LABELS = "labels.txt"
MAX_LABELS_BYTES = 2**20


def convert(model: "keras.Model") -> bytes:
    """Convert a Keras model to .tflite in float32, for one row."""
    with silenced():
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.as_dtype(model.inputs[0].dtype))
        function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[signature])
        # Otherwise the converter keeps variables as resources, which cannot be quantised.
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        # With an owner of the graph, if an empty one, the model has a signature, by which the quantiser calls it.
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module()).convert()


def with_labels(model: bytes, labels: bytes) -> bytes:
    """A .tflite model with labels.txt appended, as TFLite metadata has it."""
    return with_file(model, LABELS, labels)


def with_file(model: bytes, name: str, content: bytes) -> bytes:
    """A .tflite model with a file appended as a zip, as TFLite metadata does: any zip program can read it."""
    whole = io.BytesIO(model)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name, EARLIEST_ZIP_DATE), content)
    return whole.getvalue()


def packed_labels(model: bytes) -> bytes | None:
    """The labels that `with_labels` appended to a model, or None."""
    return packed_file(model, LABELS)


def packed_file(model: bytes, name: str) -> bytes | None:
    """A file that `with_file` appended to a model, or None."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive, archive.open(name) as file:
            return file.read(MAX_LABELS_BYTES)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return None  # or one that is damaged


class Runner:
    """An interpreter on one thread, a row at a time: fast in the cache, and independent of how rows are batched.

    Attributes
    ----------
    takes, gives : (shape, dtype)
        Of the input and the output.

    Raises
    ------
    ValueError
        If it is not a .tflite model with one input and one output.
    """

    def __init__(self, model: bytes):
        from ai_edge_litert.interpreter import Interpreter

        with silenced():
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        [entry], [exit_] = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._entry, self._exit = entry["index"], exit_["index"]
        self.takes, self.gives = ((tuple(map(int, end["shape"])), np.dtype(end["dtype"])) for end in (entry, exit_))

    def __call__(self, rows: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """The outputs (n, ...) for inputs (n, ...)."""
        shape, dtype = self.gives
        outputs = np.empty((len(rows), *shape[1:]), dtype)
        for row, output in zip(rows, outputs, strict=True):
            self._interpreter.set_tensor(self._entry, row[None])
            self._interpreter.invoke()
            output[...] = self._interpreter.get_tensor(self._exit)[0]
        return outputs


def run(model: bytes, inputs: np.ndarray, title: str) -> Iterator[np.ndarray]:
    """Run a model on all rows of inputs, on all cores, with a progress bar.

    Yields
    ------
    ndarray (m, ...)
        Outputs of the next m rows, in order.
    """
    idle: queue.SimpleQueue[Runner] = queue.SimpleQueue()
    for _ in range(parallel.cores()):
        idle.put(Runner(model))

    def infer(rows: np.ndarray) -> np.ndarray:
        runner = idle.get()
        try:
            return runner(rows)
        finally:
            idle.put(runner)

    return parallel.apply(infer, inputs, ROWS_A_TASK, title, "photos")


def extract(model: bytes, file: str, inputs: np.ndarray, folder: Path) -> dict[str, str]:
    """Write a model's outputs for all rows of inputs as an array.

    Returns
    -------
    dict
        The sha256 of the file, by its path in the folder.
    """
    shape, dtype = Runner(model).gives
    outputs = run(model, inputs, file.removesuffix(".npy"))
    return {file: arrays.write(folder / file, (len(inputs), *shape[1:]), dtype, outputs)}


def latency(model: bytes, row: np.ndarray, repeats: int = 30) -> float:
    """Median milliseconds for one row on one thread."""
    runner = Runner(model)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        runner(row[None])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]) * 1000)
