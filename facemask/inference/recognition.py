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


def classify(pixels: np.ndarray, faces: list[Face], classifier: Classifier, min_size: int) -> list[LabelledFace]:
    """Label faces in uint8 RGB pixels (height, width, 3), cut out as the pipeline cuts out what it trains on.

    As there, one cut out of a photo gets no label if a side is below `min_size` pixels; a whole photo is labelled
    whatever its size.
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
    answers = dict(zip(regions, zip(labels, rows, strict=True), strict=True))
    return [LabelledFace(face.box or whole, face.score, *answers.get(face, ())) for face in faces]


def labelled(faces: list[Face], classes: Sequence[str], min_size: int) -> list[LabelledFace]:
    """Faces with the labels that their detector gave them; without one where a side is below `min_size` pixels."""
    answers = []
    for face in faces:
        rows = dict(zip(classes, face.probabilities, strict=True)) if face.box.shorter_side >= min_size else {}
        answers.append(LabelledFace(face.box, face.score, max(rows, key=rows.get, default=None), rows))
    return answers


class Recognizer:
    """Several detectors and classifiers, lent to as many threads; further threads wait their turn.

    So the memory of a server or a pool of threads is bounded by the number of pairs. Without `min_size`, in
    pixels, the classifier's own counts. A detector that labels faces itself is its own classifier.
    """

    def __init__(self, pairs: Sequence[tuple[Detector, Classifier]], min_size: int | None = None):
        self.classifier = pairs[0][1]
        self.min_size = self.classifier.min_size if min_size is None else min_size
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
            if classifier is detect:
                return labelled(faces, classifier.classes, self.min_size)
            with self.stopwatch("classify"):
                return classify(pixels, faces, classifier, self.min_size)
        finally:
            self._idle.put(pair)
