"""Pretrain a small MobileNetV2 on synthetic faces: the weights of `weights: synthetic`.

Multi-output regression of what a face shows: pose, features, colours, and which parts a patch covers. The faces have
other seeds than the demo's, and none wears a mask: the network sees neither masks nor labels. Three in four have a
patch of any colour and size between forehead and chin, so that the features are robust to occlusion; only the head is
trained on masks.

Users need not run it: the files that it writes are in Git. They were made by `make pretrain`, that is
`python -m facemask.experiments.pretrain weights=facemask/networks/synthetic.weights.h5
record=facemask/networks/synthetic.json`, with seed 11, in nine minutes of processor time.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from tqdm import tqdm

from facemask import networks
from facemask.core import cli, parallel
from facemask.core.files import digest, prepare_tensorflow, replacing, write_json
from facemask.data import images
from facemask.data.sources.drawing.masks import Patch
from facemask.data.sources.drawing.person import Person
from facemask.data.sources.drawing.portrait import draw_person
from facemask.networks import fine_tuning

if TYPE_CHECKING:
    import keras

SEED = 11  # the demo's faces have seeds 0, 1 and 2
THREADS = 2
FACES, HELD_OUT = 8000, 800
FACE_SIZE = 96
NETWORK: dict[str, Any] = {"model": "mobilenet_v2", "alpha": 0.35, "image_size": 64, "weights": "none"}
EPOCHS, BATCH, LEARNING_RATE = 8, 32, 0.003

SINGLE = ("yaw", "roll", "scale", "right", "down", "bald", "long_hair", "glasses", "hat")
COLOURS = ("skin", "hair", "clothes")
PLACES = {  # in head coordinates
    "forehead": (0, -0.55), "left_eye": (-0.31, 0), "right_eye": (0.31, 0), "nose": (0, 0.36), "mouth": (0, 0.645),
    "left_cheek": (-0.42, 0.36), "right_cheek": (0.42, 0.36), "chin": (0, 0.92),
}  # fmt: skip
ATTRIBUTES = (
    *SINGLE, *(f"{name}_{channel}" for name in COLOURS for channel in "rgb"),
    *(f"{name}_covered" for name in PLACES), "patch_r", "patch_g", "patch_b",
)  # fmt: skip


def describe(person: Person, patch: Patch | None) -> np.ndarray:
    """The target attributes, float32 (attributes,), in the order of `ATTRIBUTES`; NaN for the colour of no patch."""
    colours = (channel for name in COLOURS for channel in getattr(person, name))
    covered = (
        patch is not None and patch.left < x < patch.right and patch.top < y < patch.bottom for x, y in PLACES.values()
    )
    patched = [np.nan] * 3 if patch is None else patch.colour
    return np.array([*(getattr(person, name) for name in SINGLE), *colours, *covered, *patched], np.float32)


def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A face without a mask, uint8 (side, side, 3), and its attributes; every fourth has no patch."""
    rng = np.random.default_rng([SEED, number])
    person = Person.sample(rng)
    patch = Patch.sample(rng) if number % 4 else None
    face = draw_person(person, rng, "without_mask", FACE_SIZE, patch)
    return images.resize(face, NETWORK["image_size"]), describe(person, patch)


def standardised(descriptions: np.ndarray) -> np.ndarray:
    """Attributes standardised to mean 0 and standard deviation 1; 0 for NaN."""
    scaled = (descriptions - np.nanmean(descriptions, axis=0)) / np.nanstd(descriptions, axis=0)
    return np.nan_to_num(scaled)


def fit(backbone: "keras.Model", pixels: np.ndarray, targets: np.ndarray) -> "keras.Model":
    """Train a backbone, in place, with a linear output a target; return both as one model."""
    import keras

    outputs = keras.layers.Dense(targets.shape[1], name="attributes")(backbone.output)
    model = keras.Model(backbone.input, outputs)
    steps = EPOCHS * -(-len(pixels) // BATCH)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)), "mse")
    model.fit(pixels, targets, batch_size=BATCH, epochs=EPOCHS, verbose=2)
    return model


def save_half(backbone: "keras.Model", path: Path) -> None:
    """Save weights as float16, half the size; Keras loads them as float32."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float16")
    half = networks.build_backbone(**NETWORK)
    keras.config.set_dtype_policy(policy)
    half.set_weights(backbone.get_weights())
    with replacing(path) as partial:
        whole = partial.with_name(f"{partial.name}.weights.h5")  # Keras asks for this ending
        half.save_weights(whole)
        whole.replace(partial)


def main(weights: Path, record: Path) -> None:
    prepare_tensorflow(SEED, THREADS)
    work = (joblib.delayed(draw)(number) for number in range(FACES))
    faces = joblib.Parallel(n_jobs=parallel.cores(), batch_size=16, return_as="generator")(work)
    pixels, descriptions = map(np.stack, zip(*tqdm(faces, "draw", FACES, unit="face", disable=None), strict=True))
    targets = standardised(descriptions)
    backbone = networks.build_backbone(**NETWORK)
    model = fit(backbone, pixels[HELD_OUT:], targets[HELD_OUT:])
    save_half(backbone, weights)
    backbone.load_weights(weights)
    errors = fine_tuning.predict(model, pixels[:HELD_OUT], BATCH) - targets[:HELD_OUT]
    explained = 1 - (errors**2).mean(axis=0) / targets[:HELD_OUT].var(axis=0)
    write_json(
        record,
        {
            "seed": SEED,
            "faces": FACES - HELD_OUT,
            "held_out": HELD_OUT,
            "epochs": EPOCHS,
            "r2": float(explained.mean()),
            "r2_by_attribute": dict(zip(ATTRIBUTES, map(float, explained), strict=True)),
            "sha256": digest(weights),
        },
    )
    print(f"{weights}: mean R2 of {len(explained)} attributes on {HELD_OUT} held-out faces: {explained.mean():.3f}")


if __name__ == "__main__":
    cli.run(main)
