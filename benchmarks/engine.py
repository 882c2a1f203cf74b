"""Inference speed of Keras and LiteRT: python -m benchmarks.engine BACKBONE.keras TFLITE_FOLDER SHARDS

Prints JSON: photos a second through Keras' predict and through LiteRT, on one thread and on all, and the milliseconds
of one photo.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from facemask.data import shards
from facemask.engines import litert, variants

BATCHES = (1, 32, 128)
REPEATS = 5


def rate(run: Callable[[], object], photos: int) -> float:
    """Photos a second, the median of a few runs after a warm-up."""
    run()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return photos / float(np.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("backbone", "folder", "source"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    import keras

    backbone = keras.saving.load_model(args.backbone)
    pixels = np.array(shards.array(args.source, "test"))
    trunk = litert.convert(backbone)
    alone = pixels[:30]
    predict = functools.partial(backbone.predict, verbose=0)
    rates = [rate(functools.partial(predict, pixels, batch_size=size), len(pixels)) for size in BATCHES]
    single = rate(lambda: [predict(photo[None]) for photo in alone], len(alone))
    found = {"keras": max(rates), "keras_milliseconds": 1000 / single}
    for threads in ("1", ""):
        os.environ["LOKY_MAX_CPU_COUNT"] = threads
        if not threads:
            del os.environ["LOKY_MAX_CPU_COUNT"]
        found[f"litert_{threads or 'all'}"] = rate(lambda: list(litert.run(trunk, pixels, "")), len(pixels))
    for variant in variants.VARIANTS:
        found[f"{variant}_milliseconds"] = litert.latency((args.folder / f"{variant}.tflite").read_bytes(), pixels[0])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
