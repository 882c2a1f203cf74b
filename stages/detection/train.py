"""Train the detector, and keep the epoch that validation likes best.

Reads the shards; writes the detector, the same for LiteRT, its labels in the order of its scores, from which score on
a box is shown, the curves and a sheet of augmented scenes; and, after every epoch, the history. The test split is not
read.
"""

import functools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from facemask.core import cli, parallel, params, parts
from facemask.core.files import prepare_tensorflow, replacing, save_model, write_json, write_text
from facemask.core.machine import kind
from facemask.core.params import Count, Float, Section, Seed, Side
from facemask.core.tables import write_csv
from facemask.data import scenes, shards
from facemask.data.detections import boxes_of
from facemask.data.scene_augmentation import SceneAugment, alter
from facemask.engines import litert
from facemask.evaluation import detection_figures
from facemask.evaluation.average_precision import MIN_SCORE, map50
from facemask.evaluation.detection import best_threshold
from facemask.experiments import measurements
from facemask.networks import check_weights, detection, weights_file
from facemask.networks.detection.anchors import k_medians
from facemask.networks.detection.training import Training, fit, key_of

if TYPE_CHECKING:
    import keras

SHEET = 12  # augmented scenes that are shown


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    threads: Count
    image_size: Side
    model: str
    alpha: Annotated[Float, Field(gt=0, le=2)]
    weights: str
    train_from: str
    neck: Count
    training: Training
    augment: SceneAugment

    @model_validator(mode="after")
    def can_be_built(self) -> "Settings":
        """Refuse, before anything is fetched, what could not be built, or would be frozen untrained."""
        detection.check(self.model, self.alpha, self.weights, self.train_from, self.image_size)
        check_weights(self.model, self.alpha, self.weights, self.train_from)
        return self


Scene = tuple[np.ndarray, np.ndarray]


def load(folder: Path, split: str, classes: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The squares of a split, (scenes, size, size, 3) uint8, and the faces in each, as `scenes.arrays`."""
    table = shards.rows(folder, split)
    return shards.array(folder, split), scenes.arrays(table, scenes.read_faces(folder, split), classes)


def altered(number: int, epoch: int, squares: np.ndarray, faces: list[np.ndarray], settings: Settings) -> Scene:
    """What an epoch shows of a scene; it depends on the seed, the epoch and the scene alone."""
    rng = np.random.default_rng([settings.seed, epoch, 1 + number])
    others = [(squares[other], faces[other]) for other in rng.integers(0, len(squares), 4)]
    last = epoch >= (1 - settings.augment.mosaic_off) * settings.training.epochs
    return alter((squares[number], faces[number]), others, settings.augment, not last, rng)


def batches(
    epoch: int, squares: np.ndarray, faces: list[np.ndarray], settings: Settings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of an epoch, made by threads while others are trained on; a rest that fills none is left out."""
    size = settings.training.batch_size
    order = np.random.default_rng([settings.seed, epoch, 0]).permutation(len(squares))
    order = order[: len(order) // size * size] if len(order) >= size else order
    made = functools.partial(altered, epoch=epoch, squares=squares, faces=faces, settings=settings)
    batch: list[Scene] = []
    for scene in parallel.in_order(made, order.tolist(), parallel.cores()):
        batch.append(scene)
        if len(batch) == min(size, len(order)):
            yield np.stack([pixels for pixels, _ in batch]), padded([found for _, found in batch])
            batch = []


def padded(faces: list[np.ndarray]) -> np.ndarray:
    """The faces of several scenes, (scenes, most, 5) float32, filled up with class -1."""
    table = np.full((len(faces), max(1, *map(len, faces)), 5), -1, np.float32)
    for row, found in zip(table, faces, strict=True):
        row[: len(found)] = found
    return table


def epochs(rows: list[dict[str, float]]) -> pd.DataFrame:
    """The history as a table, a row an epoch."""
    return pd.DataFrame(rows).astype({"epoch": int})


def main(
    parameters: Path,
    pixels: Path,
    model: Path,
    trained: Path,
    labels: Path,
    threshold: Path,
    history: Path,
    curves: Path,
    sheet: Path,
    machine: Path,
) -> str:
    settings = params.load(Settings, parameters)
    cv2.setNumThreads(1)
    prepare_tensorflow(settings.seed, settings.threads)
    truth = scenes.read_faces(pixels, "validation")
    classes = sorted(scenes.read_faces(pixels, "train").label.unique())
    squares, faces = load(pixels, "train", classes)
    count = detection.anchor_count(settings.model)
    shapes = np.concatenate(faces)[:, 3:5] - np.concatenate(faces)[:, 1:3]
    detector = detection.build(
        settings.model, settings.alpha, settings.weights, settings.train_from, settings.neck, settings.image_size,
        len(classes), k_medians(shapes, count, settings.seed) if count else None,
    )  # fmt: skip
    held_out, scales = shards.array(pixels, "validation"), shards.rows(pixels, "validation").scale.to_numpy()

    def found(network: "keras.Model") -> pd.DataFrame:
        size = settings.training.batch_size
        starts = range(0, len(held_out), size)
        outputs = np.concatenate([network.predict_on_batch(held_out[start : start + size]) for start in starts])
        return boxes_of(outputs, scales, settings.image_size, classes, MIN_SCORE)

    def score(network: "keras.Model") -> dict[str, float]:
        return {"map50": map50(truth, found(network), classes, len(held_out))}

    weights = weights_file(settings.weights)
    version = parts.code([sys.modules[__name__]], ["keras", "tensorflow"])
    start = time.perf_counter()
    rows = fit(
        detector,
        functools.partial(batches, squares=squares, faces=faces, settings=settings),
        max(1, len(squares) // settings.training.batch_size),
        score,
        settings.training,
        checkpoint=model.with_name("training.partial"),
        key=key_of(settings.model_dump_json(), version, *([weights] if weights else []), *sorted(pixels.iterdir())),
        report=lambda rows: write_csv(history, epochs(rows)),
    )
    seconds = time.perf_counter() - start
    whole = detection.decoded(detector)
    save_model(whole, model)
    with replacing(trained) as partial:
        partial.write_bytes(litert.convert(whole))
    write_text(labels, "".join(f"{label}\n" for label in classes))
    write_json(threshold, {"score": best_threshold(truth, found(whole), classes)})
    table = epochs(rows)
    write_csv(history, table)
    write_json(machine, kind())
    detection_figures.curves(table, curves)
    shown = [altered(number, 0, squares, faces, settings) for number in range(min(SHEET, len(squares)))]
    detection_figures.scenes([one for one, _ in shown], [found_ for _, found_ in shown], classes, sheet)
    measurements.note(model.read_bytes(), seconds=seconds, parameters=whole.count_params())
    best = table.loc[table.map50.idxmax()]
    return f"{len(table)} epochs in {seconds:.0f} s, kept epoch {best.epoch:.0f}: validation mAP50 {best.map50:.4f}"


if __name__ == "__main__":
    cli.run(main)
