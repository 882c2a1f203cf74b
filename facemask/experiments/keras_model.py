"""Put the classifier together as one Keras model, to train it on or to load it elsewhere: make keras."""

import zipfile
from pathlib import Path

import numpy as np

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, save_model
from facemask.core.params import Count, Section, Seed, Side
from facemask.data import shards
from facemask.networks import fine_tuning
from facemask.networks.head import Head


class Settings(Section):
    """The parameters of the network that was trained."""

    seed: Seed
    threads: Count
    image_size: Side
    weights: str
    train_from: str
    head: Head


def main(backbone: Path, weights: Path, labels: Path, model: Path) -> str:
    settings = params.load(Settings)
    prepare_tensorflow(settings.seed, settings.threads)
    trunk, top = fine_tuning.cut(fine_tuning.load(backbone / "backbone.keras"), settings.train_from)
    shape, dtype = (
        ((settings.image_size,) * 2 + (3,), "uint8") if trunk is None else (trunk.output_shape[1:], "float32")
    )
    classes = shards.read_labels(labels)
    pretrained = settings.weights != "none"
    trained = fine_tuning.build_trainable(top, shape, dtype, settings.head, len(classes), pretrained)
    try:
        with np.load(weights) as arrays:
            trained.set_weights([arrays[name] for name in arrays])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{weights} does not fit params.yaml ({reason}); bring it up to date with: dvc repro") from None
    save_model(fine_tuning.join(trunk, trained, settings.image_size), model)
    return f"{model}: uint8 pixels to the probabilities of {', '.join(classes)}"


if __name__ == "__main__":
    cli.run(main)
