"""Recognition in two phases: detect the faces in a photo, then classify each."""

import queue
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from facemask.data.boxes import Box
from facemask.data.images import resize
from facemask.data.quality import Quality, measure
from facemask.inference.classifier import Classifier
from facemask.inference.detectors import Detector, Face
from facemask.inference.detectors.mask_detector import MaskDetector
from facemask.inference.stopwatch import Stopwatch


class LabelledFace(NamedTuple):
    """A detected face with the probability of each class; without a label if it is too small."""

    box: Box
    score: float
    label: str | None = None
    probabilities: dict[str, float] = {}  # noqa: RUF012 (never changed)
    quality: Quality | None = None  # of the square that a classifier saw

    @property
    def probability(self) -> float | None:
        """The probability of the label."""
        return None if self.label is None else self.probabilities[self.label]

    def described(self) -> dict[str, Any]:
        """The face for JSON: the box as [left, top, right, bottom] in pixels, numbers rounded to 4 decimals."""
        return {
            "box": list(self.box),
            "score": round(self.score, 4),
            "label": self.label,
            "probability": None if self.probability is None else round(self.probability, 4),
            "probabilities": {name: round(value, 4) for name, value in self.probabilities.items()},
        }


def classify(pixels: np.ndarray, faces: list[Face], classifier: Classifier, min_size: int) -> list[LabelledFace]:
    """Classify faces in uint8 RGB pixels (height, width, 3), cropped as for training.

    As there, a face with a box gets no label if a side is below `min_size` pixels; a whole photo always gets one.
    """
    height, width = pixels.shape[:2]
    whole = Box(0, 0, width, height)
    regions = {
        face: face.box.widened(classifier.margin, width, height) if face.box else whole
        for face in faces
        if face.box is None or face.box.shorter_side >= min_size
    }
    crops = [
        resize(Image.fromarray(pixels[box.top : box.bottom, box.left : box.right]), classifier.size)
        for box in regions.values()
    ]
    probabilities = classifier.probabilities(crops)
    labels = [classifier.classes[index] for index in classifier.decide(probabilities)]
    rows = [dict(zip(classifier.classes, row, strict=True)) for row in probabilities.tolist()]
    results = dict(zip(regions, zip(labels, rows, map(measure, crops), strict=True), strict=True))
    return [LabelledFace(face.box or whole, face.score, *results.get(face, ())) for face in faces]


def labelled(faces: list[Face], classes: Sequence[str], min_size: int) -> list[LabelledFace]:
    """Faces with the labels that their detector gave them; without one where a side is below `min_size` pixels."""
    answers = []
    told = ((face.box, face.score, face.probabilities) for face in faces if face.box and face.probabilities)
    for box, score, probabilities in told:
        rows = dict(zip(classes, probabilities, strict=True)) if box.shorter_side >= min_size else {}
        answers.append(LabelledFace(box, score, max(rows, key=rows.__getitem__, default=None), rows))
    return answers


class Recognizer:
    """A pool of detectors and classifiers for as many threads; further threads wait.

    So the number of pairs bounds the memory of a server or a thread pool. `min_size`, in pixels, is by default the
    classifier's. A detector that labels faces itself is its own classifier. The log is called with the faces of every
    photo.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Detector, Classifier | MaskDetector]],
        min_size: int | None = None,
        log: Callable[[list[LabelledFace]], None] | None = None,
    ):
        self.log = log
        self.classifier = pairs[0][1]
        self.min_size = self.classifier.min_size if min_size is None else min_size
        self.stopwatch = Stopwatch()
        self._idle: queue.SimpleQueue[tuple[Detector, Classifier | MaskDetector]] = queue.SimpleQueue()
        for pair in pairs:
            self._idle.put(pair)

    def __call__(self, pixels: np.ndarray) -> list[LabelledFace]:
        """The labelled faces in uint8 RGB pixels (height, width, 3)."""
        detect, classifier = pair = self._idle.get()
        try:
            with self.stopwatch("detect"):
                faces = detect(pixels)
            if isinstance(classifier, MaskDetector):
                return labelled(faces, classifier.classes, self.min_size)
            with self.stopwatch("classify"):
                found = classify(pixels, faces, classifier, self.min_size)
        finally:
            self._idle.put(pair)
        if self.log:
            self.log(found)
        return found
