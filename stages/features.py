"""Feature extraction: run the frozen part of the network over every face, once.

Reads the shards; writes the backbone with its initial weights, its frozen part, the trunk, for LiteRT, and the trunk's
output for each row of each shard. A frozen layer gives the same output every epoch and in every experiment, so this is
exact, and training the rest takes seconds. With `train_from: input` nothing is frozen, and training reads the shards.
"""

import functools
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from facemask import networks
from facemask.core import cli, params
from facemask.core.files import prepare_tensorflow, replacing, save_model, write_json
from facemask.core.params import Count, Float, Section, Seed, Side
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
    def weights_fit_cut(self) -> "Settings":
        if self.weights == "none" and self.train_from != "input":
            raise ValueError(
                f"train_from: {self.train_from} would freeze untrained layers; "
                "with weights: none only train_from: input makes sense"
            )
        return self


def main(pixels: Path, backbone: Path, features: Path) -> str:
    settings = params.load(Settings)
    prepare_tensorflow(settings.seed, settings.threads)
    network = networks.build_backbone(settings.model, settings.alpha, settings.weights, settings.image_size)
    trunk, _ = fine_tuning.cut(network, settings.train_from)
    with replacing(backbone) as partial:
        partial.mkdir()
        save_model(network, partial / "backbone.keras")
        if trunk is not None:
            (partial / "trunk.tflite").write_bytes(litert.convert(trunk))
    with replacing(features) as partial:
        partial.mkdir()
        frozen = {"train_from": settings.train_from, "parameters": 0 if trunk is None else trunk.count_params()}
        write_json(partial / "frozen.json", frozen)
        if trunk is None:
            return "nothing is frozen: training reads the photos"
        if settings.engine == "litert":
            run = functools.partial(litert.run, (backbone / "trunk.tflite").read_bytes())
        else:
            run = functools.partial(keras.run, trunk)
        count, output = 0, trunk.output_shape[1:]
        for split in shards.names(pixels):
            rows = shards.array(pixels, split)
            shards.fill(partial, split, (len(rows), *output), np.float32, run(rows, split))
            count += len(rows)
    return f"{count:,} rows of {' x '.join(map(str, output))}, frozen below {settings.train_from}"


if __name__ == "__main__":
    cli.run(main)
