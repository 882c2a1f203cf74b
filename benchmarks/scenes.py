"""How many marked faces of scenes are found and called right: python -m benchmarks.scenes MODEL SCENES.zip

MODEL is an exported folder or a .tflite file in it; the zip holds photos and, by the same names, PASCAL VOC
annotations. Faces of classes that the model does not have are left out, and those too small to be labelled.
"""

import argparse
from pathlib import Path

import numpy as np

from facemask.data import images, pascal_voc
from facemask.data.archive import Archive
from facemask.data.boxes import matches
from facemask.data.faces import simple
from facemask.inference.classifier import Classifier
from facemask.inference.commands import sizes
from facemask.inference.detectors import Face
from facemask.inference.detectors.yunet import YuNet
from facemask.inference.recognition import classify
from facemask.inference.stopwatch import Stopwatch
from stages.survey import paired

MIN_IOU = 0.5


def scenes(path: Path, count: int):
    """Photo and marked faces of about so many scenes, spread over the archive."""
    with Archive(path) as archive:
        marked = [pair for pair in paired(archive) if pair[1]]
        for number in np.linspace(0, len(marked) - 1, min(count, len(marked))).round().astype(int):
            photo, annotation = marked[number]
            yield np.asarray(images.decode(archive.read(photo))), pascal_voc.parse(archive.read(annotation))


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
    perfect, found = [], {size: [] for size in args.sizes}
    strangers, watch = dict.fromkeys(args.sizes, 0), Stopwatch()
    detectors = {size: YuNet(args.detector_weights, sizes(size)) for size in args.sizes}
    count = 0
    for pixels, marked in scenes(args.scenes, args.count):
        count += 1
        boxes = [box for _, box in marked]
        labels = [names.get(simple(label)) for label, _ in marked]
        wanted = [number for number, box in enumerate(boxes) if labels[number] and box.shorter_side >= least]
        given = classify(pixels, [Face(boxes[number], 1.0) for number in wanted], classifier, min_size=0)
        perfect += [face.label == labels[number] for number, face in zip(wanted, given, strict=True)]
        for size, detect in detectors.items():
            with watch(size):
                faces = detect(pixels)
            pairs = dict(matches(boxes, [face.box for face in faces], MIN_IOU))
            known = set(pairs.values())
            strangers[size] += sum(
                face.box.shorter_side >= least for number, face in enumerate(faces) if number not in known
            )
            called = classify(pixels, faces, classifier, min_size=0)
            found[size] += [
                called[pairs[number]].label == labels[number] if number in pairs else None for number in wanted
            ]
    print(f"{count} scenes, {len(perfect)} faces; with perfect boxes {np.mean(perfect):.3f} are called right")
    print("longest side  recall  right of found  found and right  unmarked boxes  ms a photo")
    for size, answers in found.items():
        hits = [answer for answer in answers if answer is not None]
        recall, right, both = len(hits) / len(answers), np.mean(hits), sum(hits) / len(answers)
        milliseconds = 1000 * watch.seconds[size] / count
        print(f"{size:>12}  {recall:6.3f}  {right:14.3f}  {both:15.3f}  {strangers[size]:14}  {milliseconds:10.1f}")


if __name__ == "__main__":
    main()
