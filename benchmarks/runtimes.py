"""The exported network in other runtimes, one photo on one thread: python -m benchmarks.runtimes PHOTOS.zip WEIGHTS

MobileNetV2 at 224 pixels with a head of random initialisation, in float32 and in int8 with the ranges of the same 50
photos: LiteRT, as `export` writes it, ONNX Runtime (quantised by its own tool) and OpenVINO (the same file). Runtimes
take turns. Needs: pip install onnxruntime openvino sympy tf2onnx
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import openvino
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from facemask import networks
from facemask.data import images
from facemask.data.archive import Archive
from facemask.engines import litert, variants
from facemask.networks.fine_tuning import build_trainable, join
from facemask.networks.head import Head

SIDE, PHOTOS, CALIBRATION = 224, 150, 50
ROUNDS, CALLS = 60, 4


class Sample(CalibrationDataReader):
    """Photos, one at a time."""

    def __init__(self, photos: np.ndarray):
        self.photos: Iterator[np.ndarray] = iter(photos)

    def get_next(self) -> dict[str, np.ndarray] | None:
        photo = next(self.photos, None)
        return None if photo is None else {"pixels": photo[None]}


def classifier(weights: str) -> keras.Model:
    """The whole network with an untrained head."""
    keras.utils.set_random_seed(7)
    trunk = networks.build_backbone("mobilenet_v2", 1.0, weights, SIDE)
    head = build_trainable(None, trunk.output_shape[1:], "float32", Head(units=[], dropout=[]), 2, True)
    return join(trunk, head, SIDE)


def on_onnxruntime(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda photo: session.run(None, {"pixels": photo})[0]


def on_openvino(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    # Without the hint, float32 is calculated in bfloat16 where the processor has it.
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(file), "CPU", options)
    request = compiled.create_infer_request()
    return lambda photo: request.infer([photo])[compiled.output(0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", help="ImageNet weights of MobileNetV2 without its top")
    args = parser.parse_args()
    with Archive(args.photos) as archive:
        names = [name for name in archive.names if Path(name).suffix.lower() in images.SUFFIXES]
        names = names[:: max(1, len(names) // PHOTOS)][:PHOTOS]
        photos = np.stack([images.cut_out(archive.read(name), None, SIDE) for name in names])
    sample = photos[:CALIBRATION]
    model = classifier(args.weights)
    lite = litert.convert(model)
    small = variants.quantise(lite, "int8", sample)
    with tempfile.TemporaryDirectory() as temporary:
        whole, prepared, quantised = (Path(temporary, name) for name in ("float32.onnx", "prepared.onnx", "int8.onnx"))
        pixels = tf.TensorSpec((1, SIDE, SIDE, 3), tf.uint8, name="pixels")
        function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[pixels])
        tf2onnx.convert.from_function(function, input_signature=[pixels], opset=17, output_path=str(whole))
        quant_pre_process(whole, prepared)
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(prepared, quantised, Sample(sample), per_channel=True, **kinds)
        runtimes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "LiteRT, float32": litert.Runner(lite),
            "LiteRT, int8": litert.Runner(small),
            "ONNX Runtime, float32": on_onnxruntime(whole),
            "ONNX Runtime, int8": on_onnxruntime(quantised),
            "OpenVINO, float32": on_openvino(whole),
            "OpenVINO, int8": on_openvino(quantised),
        }
        times: dict[str, list[float]] = {name: [] for name in runtimes}
        for turn in range(ROUNDS):
            photo = photos[turn % len(photos)][None]
            for name, run in runtimes.items():
                run(photo)
                for _ in range(CALLS):
                    start = time.perf_counter()
                    run(photo)
                    times[name].append(time.perf_counter() - start)
        outputs = {name: np.concatenate([run(one[None]) for one in photos]) for name, run in runtimes.items()}
    expected = outputs["LiteRT, float32"]
    base = np.median(times["LiteRT, float32"])
    print("| | ms, median | against LiteRT, float32 | largest difference of a probability |\n|---|--:|--:|--:|")
    for name, taken in times.items():
        difference = np.abs(outputs[name] - expected).max()
        print(f"| {name} | {1000 * np.median(taken):.2f} | {np.median(taken) / base:.2f} | {difference:.4f} |")


if __name__ == "__main__":
    main()
