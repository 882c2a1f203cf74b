"""Training on JAX against TensorFlow, in one run: python -m benchmarks.replicas SHARDS FEATURES BACKBONE.keras LAYER

Prints JSON: photos a second and peak megabytes of each way to train from a layer on, and its speed as a multiple of
TensorFlow's. Seconds are the difference between a longer and a shorter training, so that starts and compilation, which
are given too, do not count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.measure import INTERVAL, memory
from facemask.core.files import prepare_tensorflow
from facemask.data import shards
from facemask.networks import fine_tuning, training
from facemask.networks.distributed import launch
from facemask.networks.head import Head
from facemask.networks.training import Training

WAYS = {"tensorflow": (0, 2), "jax": (1, 2), "jax, 2 processes": (2, 2)}  # replicas and threads
SHORT, LONG = 1, 3  # epochs


def train(source: Path, features: Path, backbone: Path, layer: str, replicas: int, threads: int, epochs: int) -> float:
    """Train so many epochs, and return the seconds; without replicas with TensorFlow."""
    classes = sorted(shards.rows(source, "train").label.unique())
    fitted, validation = (
        (shards.array(features, name), shards.labels(source, name, classes)) for name in ("train", "validation")
    )
    settings = Training(
        seed=7, lr=1e-4, lr_schedule="constant", epochs=epochs, patience=epochs, batch_size=32, class_weights=True
    )
    prepare_tensorflow(7, threads)
    _, top = fine_tuning.cut(fine_tuning.load(backbone), layer)
    head = Head(units=[], dropout=[])
    model = fine_tuning.build_trainable(top, fitted[0].shape[1:], "float32", head, len(classes), pretrained=True)
    start = time.perf_counter()
    if replicas:
        with tempfile.TemporaryDirectory() as folder:
            launch.fit(model, fitted, validation, settings, replicas, threads, Path(folder, "job"))
    else:
        training.fit(model, fitted, validation, settings)
    return time.perf_counter() - start


def measured(arguments: list[str], replicas: int, threads: int, epochs: int) -> tuple[float, float]:
    """The seconds and peak megabytes of a training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.replicas", *arguments, f"--way={replicas},{threads},{epochs}"]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ)
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0]
    watcher.join()
    return float(output.split()[-1]), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("source", "features", "backbone"):
        parser.add_argument(name, type=Path)
    parser.add_argument("layer")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(train(args.source, args.features, args.backbone, args.layer, *map(int, args.way.split(","))))
        return
    rows = len(shards.array(args.features, "train"))
    found = {}
    for name, way in WAYS.items():
        (short, _), (long, peak) = (measured(sys.argv[1:], *way, epochs) for epochs in (SHORT, LONG))
        speed = rows * (LONG - SHORT) / (long - short)
        found[name] = {"photos_a_second": speed, "megabytes": peak, "seconds_of_one_epoch_and_start": short}
        found[name]["of_tensorflow"] = speed / found["tensorflow"]["photos_a_second"]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
