"""Two phases: find the faces in a photo, then say what each wears."""

import queue
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from facemask.data.boxes import Box
from facemask.data.images import resize
from facemask.inference.classifier import Classifier
from facemask.inference.detectors import Detector, Face
from facemask.inference.stopwatch import Stopwatch


class LabelledFace(NamedTuple):
    """A face as it was found, and how likely each class is; without a label where it is too small to tell."""

    box: Box
    score: float
    label: str | None = None
    probabilities: dict[str, float] = {}  # noqa: RUF012 (never changed)

    @property
    def probability(self) -> float | None:
        """How likely the label is."""
        return self.probabilities.get(self.label)

    def described(self) -> dict[str, Any]:
        """For JSON: the box as [left, top, right, bottom] in pixels, and numbers rounded to 4 places."""
        return {
            "box": list(self.box),
            "score": round(self.score, 4),
            "label": self.label,
            "probability": self.label and round(self.probability, 4),
            "probabilities": {name: round(value, 4) for name, value in self.probabilities.items()},
        }


def classify(pixels: np.ndarray, faces: list[Face], classifier: Classifier, least_side: int) -> list[LabelledFace]:
    """Label faces in uint8 RGB pixels (height, width, 3), cut out as the pipeline cuts out what it trains on.

    Those with a side below `least_side` pixels get no label.
    """
    height, width = pixels.shape[:2]
    large = [face for face in faces if face.box.shorter_side >= least_side]
    boxes = [face.box.widened(classifier.margin, width, height) for face in large]
    crops = [
        resize(Image.fromarray(pixels[box.top : box.bottom, box.left : box.right]), classifier.size) for box in boxes
    ]
    probabilities = classifier.probabilities(crops)
    labels = [classifier.classes[index] for index in classifier.decide(probabilities)]
    rows = [dict(zip(classifier.classes, row, strict=True)) for row in probabilities.tolist()]
    known = {face: LabelledFace(*face, label, row) for face, label, row in zip(large, labels, rows, strict=True)}
    return [known.get(face, LabelledFace(*face)) for face in faces]


class Recognizer:
    """Several detectors and classifiers, lent to as many threads; further threads wait their turn.

    So the memory of a server or a pool of threads is bounded by the number of pairs. Without `least_side`, in
    pixels, the classifier's own counts.
    """

    def __init__(self, pairs: Sequence[tuple[Detector, Classifier]], least_side: int | None = None):
        self.classifier = pairs[0][1]
        self.least_side = self.classifier.least_side if least_side is None else least_side
        self.stopwatch = Stopwatch()
        self._idle = queue.SimpleQueue()
        for pair in pairs:
            self._idle.put(pair)

    def __call__(self, pixels: np.ndarray) -> list[LabelledFace]:
        """The labelled faces in uint8 RGB pixels (height, width, 3)."""
        detect, classifier = pair = self._idle.get()
        try:
            with self.stopwatch("detect"):
                faces = detect(pixels)
            with self.stopwatch("classify"):
                return classify(pixels, faces, classifier, self.least_side)
        finally:
            self._idle.put(pair)
