"""Run the frozen part of the network over every photo, once.

Reads the shards; writes the backbone with its first weights, and the trunk's output for each row
of each shard. A frozen layer gives the same output every epoch and in every experiment, so this is
exact, and what is left to train takes seconds. With `train_from: input` nothing is frozen: the
folder holds only the name of the cut, and training reads the shards.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from facemask import networks
from facemask.core import cli, params
from facemask.core.files import prepare_tensorflow, replacing, save_model
from facemask.data import shards
from facemask.engines import litert

if TYPE_CHECKING:
    import keras

Engine = Callable[[np.ndarray, str], Iterator[np.ndarray]]

GPU_BATCH = 256


def on_processors(trunk: "keras.Model") -> Engine:
    """The trunk in LiteRT, one thread a core."""
    return functools.partial(litert.run, litert.convert(litert.freeze(trunk), "float32"))


def on_gpu(trunk: "keras.Model") -> Engine:
    """The trunk in TensorFlow."""

    def run(pixels: np.ndarray, title: str) -> Iterator[np.ndarray]:
        for start in tqdm(range(0, len(pixels), GPU_BATCH), desc=title, unit="batch"):
            yield trunk.predict_on_batch(pixels[start : start + GPU_BATCH])

    return run


def apply(trunk: "keras.Model", source: Path, folder: Path) -> None:
    """Write the trunk's output for every row of every shard."""
    import tensorflow as tf

    run = (on_gpu if tf.config.list_physical_devices("GPU") else on_processors)(trunk)
    for split in shards.names(source):
        pixels = shards.array(source, split)
        shape = (len(pixels), *trunk.output_shape[1:])
        shards.fill(folder, split, shape, np.float32, run(pixels, split))


def main(source: Path, backbone_file: Path, features: Path) -> None:
    settings = params.load()
    prepare_tensorflow(settings.seed, settings.threads)
    backbone = networks.build_backbone(settings)
    trunk, _ = networks.cut(backbone, settings.train_from)
    save_model(backbone, backbone_file)
    with replacing(features) as partial:
        partial.mkdir()
        (partial / "cut.txt").write_text(f"{settings.train_from}\n")
        if trunk is not None:
            apply(trunk, source, partial)


if __name__ == "__main__":
    cli.run(main)
