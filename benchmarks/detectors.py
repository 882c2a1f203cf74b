"""One step against two, on the same scenes: python -m benchmarks.detectors RAW SHARDS --detector FILE --model FOLDER

RAW is the folder of the datasets' zips and SHARDS that of the squares, both as detection/dvc.yaml makes them. FILE is
an exported detector. FOLDER is an exported classifier, which labels the faces that YuNet finds, and those that each
FILE finds; a box is then as sure as both together. Classes that the classifier does not know count as
detection/params.yaml merges them, for all ways. From which score on a box is shown is chosen on the validation scenes,
for each way.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask.core import params
from facemask.data import images, scenes, shards
from facemask.data.raw import by_dataset
from facemask.evaluation import detection
from facemask.evaluation.average_precision import EDGES, MIN_SCORE
from facemask.inference.classifier import Classifier
from facemask.inference.commands import sizes
from facemask.inference.detectors.mask_detector import MaskDetector
from facemask.inference.detectors.yunet import YuNet
from facemask.inference.recognition import LabelledFace, classify, labelled
from facemask.inference.stopwatch import Stopwatch

SHOWN = ("map50", "map50_faces", "recall_20", "right_20", "recall_32", "right_32", "precision")

Way = Callable[[np.ndarray], list[LabelledFace]]


def two_steps(find: YuNet | MaskDetector, model: Path) -> tuple[Way, list[str]]:
    """A detector, then the classifier; and its classes."""
    classifier = Classifier(model)
    return lambda pixels: classify(pixels, find(pixels), classifier, 0), classifier.classes


def unlimited(file: Path) -> MaskDetector:
    """A detector that gives boxes whatever their score, for average precision counts all."""
    find = MaskDetector(file)
    find.min_score = MIN_SCORE
    return find


def one_step(file: Path) -> tuple[Way, list[str]]:
    """The detector alone; and its classes."""
    find = unlimited(file)

    def look(pixels: np.ndarray) -> list[LabelledFace]:
        # Its scores are of classes already, and what it calls probabilities are their fractions.
        faces = labelled(find(pixels), find.classes, 0)
        return [face._replace(score=face.score / max(face.probabilities.values())) for face in faces]

    return look, find.classes


def photos(raw: Path, table: pd.DataFrame) -> Iterator[np.ndarray]:
    """The photos of a split, (height, width, 3) uint8 RGB."""
    with by_dataset(raw) as archives:
        for one in table.itertuples():
            yield np.asarray(images.decode(archives[one.dataset].read(one.member)))


def found_by(way: Way, raw: Path, table: pd.DataFrame, classes: list[str], watch: Stopwatch) -> pd.DataFrame:
    """The predictions of a way for a split, as `evaluation.detection` takes it."""
    rows = []
    for number, pixels in enumerate(photos(raw, table)):
        with watch("all"):
            faces = way(pixels)
        for face in faces:
            scores = [face.score * face.probabilities[label] for label in classes]
            rows.append([number, *face.box, *scores])
    columns = ["scene", *EDGES, *(f"p_{label}" for label in classes)]
    return pd.DataFrame(rows, columns=columns).astype({"scene": int})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--detector", type=Path, nargs="*", default=[])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--detector-weights", type=Path, help="YuNet's")
    parser.add_argument("--sizes", nargs="+", default=["320", "640", "320,640"])
    args = parser.parse_args()
    cv2.setNumThreads(1)
    merge = params.read(Path("detection/params.yaml"))["evaluation"]["merge"]
    ways = {str(file): one_step(file) for file in args.detector}
    if args.model:
        finders: dict[str, YuNet | MaskDetector] = {
            f"YuNet {words}": YuNet(args.detector_weights, sizes(words)) for words in args.sizes
        }
        finders |= {str(file): unlimited(file) for file in args.detector}
        ways |= {f"{name} + {args.model}": two_steps(find, args.model) for name, find in finders.items()}
    tables, truths = {}, {}
    for split in ("validation", "test"):
        tables[split] = shards.rows(args.shards, split)
        truths[split] = detection.merged(scenes.read_faces(args.shards, split), merge, [])
    for name, (way, classes) in ways.items():
        founds, watch = {}, Stopwatch()
        for split, table in tables.items():
            founds[split] = detection.merged(found_by(way, args.raw, table, classes, watch), merge, classes)
        kept = [label for label in classes if label not in merge]
        threshold = detection.best_threshold(truths["validation"], founds["validation"], kept)
        groups = tables["test"].group.to_numpy()
        scores, _ = detection.score(truths["test"], founds["test"], groups, kept, {}, threshold, seed=7)
        values = scores.set_index("score").loc[list(SHOWN)]
        milliseconds = 1000 * watch.seconds["all"] / sum(map(len, tables.values()))
        print(f"{name}: {milliseconds:.1f} ms a photo, shown from {threshold:.2f} on")
        print(
            "  "
            + ", ".join(f"{row.Index} {row.value:.3f} ({row.low:.3f}-{row.high:.3f})" for row in values.itertuples())
        )


if __name__ == "__main__":
    main()
