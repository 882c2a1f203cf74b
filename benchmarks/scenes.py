"""Detection and classification on annotated scenes: python -m benchmarks.scenes MODEL SCENES.zip

Prints detection recall, the accuracy on annotated and on detected boxes, and end-to-end: detected and classified right.
MODEL is an exported folder or a .tflite file in it; the zip holds photos and PASCAL VOC annotations of the same names.
Faces of classes that the model does not have, and faces too small to be labelled, are left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facemask.data import images, pascal_voc
from facemask.data.archive import Archive
from facemask.data.boxes import Box, matches
from facemask.data.faces import simple
from facemask.inference.classifier import Classifier
from facemask.inference.commands import sizes
from facemask.inference.detectors import Face
from facemask.inference.detectors.yunet import YuNet
from facemask.inference.recognition import classify
from facemask.inference.stopwatch import Stopwatch

MIN_IOU = 0.5


def scenes(path: Path, count: int) -> Iterator[tuple[np.ndarray, list[tuple[str, Box]]]]:
    """Photos and annotated faces of `count` scenes, evenly spaced in the archive."""
    with Archive(path) as archive:
        annotated = [(photo, xml) for photo, xml in pascal_voc.paired(archive.names)[0] if xml]
        for number in np.linspace(0, len(annotated) - 1, min(count, len(annotated))).round().astype(int):
            photo, annotation = annotated[number]
            image = images.decode(archive.read(photo))
            yield np.asarray(image), pascal_voc.parse(archive.read(annotation), image.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--detector-weights", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["320", "480", "640", "960", "320,640", "320,960"])
    args = parser.parse_args()
    classifier = Classifier(args.model)
    least = classifier.min_size
    names = {simple(name): name for name in classifier.classes}
    given_boxes: list[bool] = []
    detected: dict[str, list[bool | None]] = {size: [] for size in args.sizes}
    false_positives, stopwatch = dict.fromkeys(args.sizes, 0), Stopwatch()
    detectors = {size: YuNet(args.detector_weights, sizes(size)) for size in args.sizes}
    count = 0
    for pixels, annotated in scenes(args.scenes, args.count):
        count += 1
        boxes = [box for _, box in annotated]
        labels = [names.get(simple(label)) for label, _ in annotated]
        wanted = [number for number, box in enumerate(boxes) if labels[number] and box.shorter_side >= least]
        given = classify(pixels, [Face(boxes[number], 1.0) for number in wanted], classifier, min_size=0)
        given_boxes += [face.label == labels[number] for number, face in zip(wanted, given, strict=True)]
        for size, detect in detectors.items():
            with stopwatch(size):
                faces = detect(pixels)
            found = [face.box for face in faces if face.box]
            pairs = dict(matches(boxes, found, MIN_IOU))
            matched = set(pairs.values())
            false_positives[size] += sum(
                box.shorter_side >= least for number, box in enumerate(found) if number not in matched
            )
            classified = classify(pixels, faces, classifier, min_size=0)
            detected[size] += [
                classified[pairs[number]].label == labels[number] if number in pairs else None for number in wanted
            ]
    print(f"{count} scenes, {len(given_boxes)} faces; accuracy with annotated boxes {np.mean(given_boxes):.3f}")
    print("longest side  recall  accuracy of detected  end-to-end  false positives  ms a photo")
    for size, correct in detected.items():
        hits = [one for one in correct if one is not None]
        recall, accuracy, both = len(hits) / len(correct), np.mean(hits), sum(hits) / len(correct)
        times = f"{false_positives[size]:15}  {1000 * stopwatch.seconds[size] / count:10.1f}"
        print(f"{size:>12}  {recall:6.3f}  {accuracy:20.3f}  {both:10.3f}  {times}")


if __name__ == "__main__":
    main()
