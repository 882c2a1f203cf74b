"""Quantise the converted detector, and compare each variant with the evaluated detector.

Reads the detector in .tflite, its labels and threshold, the shards and the scores; writes a .tflite a variant, each
from raw uint8 RGB to decoded boxes and scores, with its labels and the threshold inside, and how each compares.
Non-maximum suppression is left to the reader of the boxes. Fails if a variant loses more mAP50 than params allows.
"""

from pathlib import Path

import numpy as np

from facemask.core import cli, params
from facemask.core.files import replacing, write_json
from facemask.core.params import Count, Extent, Section, Seed
from facemask.core.tables import read_csv, write_csv
from facemask.data import scenes, shards
from facemask.data.detections import boxes_of
from facemask.engines import litert
from facemask.engines.variants import calibration, export
from facemask.evaluation import gate
from facemask.evaluation.average_precision import MIN_SCORE, map50
from facemask.experiments import measurements

DETECTOR = "detector.json"


class Export(Section):
    """What the exported detector must hold."""

    calibration_scenes: Count
    max_map50_drop: Extent


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    export: Export


def main(
    parameters: Path,
    trained: Path,
    labels: Path,
    threshold: Path,
    pixels: Path,
    scores: Path,
    tflite: Path,
    headlines: Path,
    comparison: Path,
) -> str:
    settings = params.load(Settings, parameters)
    classes, truth = shards.read_labels(labels), scenes.read_faces(pixels, "test")
    squares, scales = shards.array(pixels, "test"), shards.rows(pixels, "test").scale.to_numpy()
    sample = calibration(shards.array(pixels, "train"), settings.export.calibration_scenes, settings.seed)
    table = read_csv(scores)
    evaluated = float(table.value[(table.test_set == "test") & (table.score == "map50")].iloc[0])
    files = {litert.LABELS: labels.read_bytes(), DETECTOR: threshold.read_bytes()}

    def evaluate(outputs: np.ndarray) -> dict[str, float]:
        found = boxes_of(outputs, scales, squares.shape[1], classes, MIN_SCORE)
        reached = map50(truth, found, classes, len(squares))
        return {"map50": reached, "map50_drop": evaluated - reached}

    with replacing(tflite) as partial:
        partial.mkdir()
        variants, latencies = export(trained.read_bytes(), sample, partial, files, squares, evaluate)
        gate.check_export(variants, "mAP50", settings.export.max_map50_drop)
    exported = variants.set_index("variant")
    write_json(headlines, {"int8_map50": exported.map50["int8"], "int8_mb": exported.bytes["int8"] / 1e6})
    write_csv(comparison, variants)
    for variant, milliseconds in latencies.items():
        measurements.note((tflite / f"{variant}.tflite").read_bytes(), milliseconds=milliseconds)
    return "; ".join(
        f"{one.variant} {one.bytes / 1e6:.2f} MB, mAP50 {one.map50:.4f}, {latencies[one.variant]:.2f} ms a scene"
        for one in variants.itertuples()
    )


if __name__ == "__main__":
    cli.run(main)
