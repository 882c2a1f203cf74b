"""Feature extraction: run the frozen part of the network over every face, once.

Reads the shards; writes the backbone with its initial weights, its frozen part, the trunk, for LiteRT, and the trunk's
output for each row of each array. A frozen layer gives the same output every epoch and in every experiment, so this is
exact, and training the rest takes seconds. With `train_from: input` nothing is frozen, and training reads the shards.
"""

import functools
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from facemask import networks
from facemask.core import arrays, cli, params, parts
from facemask.core.engine import Task
from facemask.core.files import prepare_tensorflow, replacing, save_model, write_json
from facemask.core.params import Count, Float, Section, Seed, Side
from facemask.core.parts import Part
from facemask.data import shards
from facemask.engines import keras, litert
from facemask.networks import fine_tuning


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    threads: Count
    engine: Literal["litert", "keras"]
    image_size: Side
    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    alpha: Annotated[Float, Field(gt=0, le=2)]
    weights: str
    train_from: str

    @model_validator(mode="after")
    def weights_fit_network(self) -> "Settings":
        networks.check_weights(self.model, self.alpha, self.weights, self.train_from)
        return self


def inputs(pixels: Path, file: str) -> tuple[str, np.ndarray]:
    """A file of pixels, by its path in the folder, and its array."""
    return file, np.asarray(arrays.read(pixels / file))


def main(pixels: Path, backbone: Path, features: Path, record: Path) -> str:
    settings = params.load(Settings)
    prepare_tensorflow(settings.seed, settings.threads)
    network = networks.build_backbone(settings.model, settings.alpha, settings.weights, settings.image_size)
    trunk, _ = fine_tuning.cut(network, settings.train_from)
    with replacing(backbone) as partial:
        partial.mkdir()
        save_model(network, partial / "backbone.keras")
        if trunk is not None:
            (partial / "trunk.tflite").write_bytes(litert.convert(trunk))
    order = {} if trunk is None else shards.order(pixels)
    converted = (backbone / "trunk.tflite").read_bytes() if order else b""
    if settings.engine == "litert":
        work, version = functools.partial(litert.extract, converted), parts.code([litert], ["ai-edge-litert"])
    else:
        work, version = functools.partial(keras.extract, trunk), parts.code([keras], ["keras", "tensorflow"])
    known = settings.engine, hashlib.sha256(converted).hexdigest(), version
    plan = []
    for file, sha256 in order.items():
        here = settings.engine == "keras" or "/" not in file  # a split of one zip is too large to be sent
        task = Task(file.removesuffix(".npy"), functools.partial(inputs, pixels, file), here)
        plan.append(Part(task, parts.key(file, sha256, *known)))
    made = parts.make(features, record, plan, work, "features")
    if made:
        shards.write_order(features, made)
    frozen = {"train_from": settings.train_from, "parameters": 0 if trunk is None else trunk.count_params()}
    features.mkdir(exist_ok=True)
    write_json(features / "frozen.json", frozen)
    parts.keep(features, ["frozen.json", *made, *([shards.ORDER] if made else [])])
    if trunk is None:
        return "nothing is frozen: training reads the photos"
    count = sum(len(shards.array(features, split)) for split in shards.names(features))
    output = " x ".join(map(str, trunk.output_shape[1:]))
    return f"{count:,} rows of {output}, frozen below {settings.train_from}"


if __name__ == "__main__":
    cli.run(main)
