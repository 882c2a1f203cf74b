"""Score the two-stage way as the detector is scored: python -m benchmarks.two_stage MODEL RAW SHARDS

A face detector (YuNet) finds the faces and the classifier MODEL, an exported folder or a .tflite file in it, labels
them; a box is as sure as both together. SHARDS is the folder of detection's shards, whose test scenes are read from the
zips of RAW, so both ways see the same scenes.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask.data import images, scenes, shards
from facemask.data.archive import by_dataset
from facemask.evaluation import detection
from facemask.evaluation.detection import EDGES
from facemask.inference.classifier import Classifier
from facemask.inference.commands import sizes
from facemask.inference.detectors.yunet import YuNet
from facemask.inference.recognition import classify
from facemask.inference.stopwatch import Stopwatch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("raw", type=Path, help="the folder of the datasets' zips, as fetch writes it")
    parser.add_argument("shards", type=Path)
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["320", "640", "320,640"])
    parser.add_argument("--threshold", type=float, default=0.5, help="from which score on a box is shown")
    parser.add_argument("--split", default="test")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    classifier, watch = Classifier(args.model), Stopwatch()
    table, truth = shards.rows(args.shards, args.split), scenes.read_faces(args.shards, args.split)
    truth = truth[truth.label.isin(classifier.classes)].reset_index(drop=True)
    with by_dataset(args.raw) as archives:
        photos = [np.asarray(images.decode(archives[one.dataset].read(one.member))) for one in table.itertuples()]
    for words in args.sizes:
        find, rows = YuNet(args.detector_weights, sizes(words)), []
        for number, pixels in enumerate(photos):
            with watch(words):
                faces = classify(pixels, find(pixels), classifier, 0)
            rows += [
                {"scene": number, **dict(zip(EDGES, face.box, strict=True))}
                | {f"p_{label}": face.score * share for label, share in face.probabilities.items()}
                for face in faces
            ]
        found = pd.DataFrame(rows)
        scores, report = detection.score(
            truth, found, table.group.to_numpy(), classifier.classes, {}, args.threshold, seed=7
        )
        print(f"YuNet at {words} and {classifier.file}: {1000 * watch.seconds[words] / len(photos):.1f} ms a photo")
        print(scores.round(4).to_string(index=False))
        print(report.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
