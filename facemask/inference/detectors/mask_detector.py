"""The detector that detection/dvc.yaml trains: it detects and classifies faces, so it is its own classifier."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from facemask.data.boxes import Box
from facemask.data.detections import suppress
from facemask.data.letterbox import letterbox
from facemask.engines.litert import Runner, packed_file, packed_labels
from facemask.inference.detectors import Face, WeightsError

DEFAULT_FILE = Path("detection/models/tflite/int8.tflite")
SETTINGS = "detector.json"


class MaskDetector:
    """A .tflite file that `stages.detection.export` wrote; for one thread at a time.

    Attributes
    ----------
    folder, file : path
        The file, and the folder in which it is.
    classes : list of str
        In the order of the scores.
    size : int
        Side of the square in which it looks at a photo, in pixels.
    min_score : float
        From which on a face is reported: where F1 was best on validation.
    label, threshold, margin, min_size
        As a classifier's: the argmax class is the answer, and nothing is cut out.

    Raises
    ------
    WeightsError
        If the file is missing, or is something else.
    """

    threshold, margin, min_size = None, 0.0, 0

    def __init__(self, weights: Path | None):
        self.file = weights or DEFAULT_FILE
        self.folder = self.file.parent
        if not self.file.is_file():
            raise WeightsError(f"there is no detector {self.file}; `make detect` makes one")
        content = self.file.read_bytes()
        labels, settings = packed_labels(content), packed_file(content, SETTINGS)
        try:
            if not labels or not settings:
                raise ValueError("no labels or no settings")
            self._run = Runner(content)
            self.min_score = float(json.loads(settings)["score"])
            self.classes = labels.decode().splitlines()
        except (ValueError, RuntimeError, TypeError, KeyError):
            raise WeightsError(f"{self.file} is no detector that `make detect` exported, or is cut short") from None
        (shape, kind), (given, _) = self._run.takes, self._run.gives
        self.size, self.label = shape[1] if len(shape) == 4 else 0, self.classes[0]
        expected = (1, self.size, self.size, 3), np.uint8, 3, 4 + len(self.classes)
        if (shape, kind, len(given), given[-1]) != expected:
            raise WeightsError(f"{self.file} does not turn uint8 RGB pixels into boxes of {len(self.classes)} classes")

    def __call__(self, pixels: np.ndarray) -> list[Face]:
        """Faces in uint8 RGB pixels (height, width, 3), by falling score."""
        height, width = pixels.shape[:2]
        square, scale = letterbox(Image.fromarray(pixels), self.size)
        [output] = self._run(square[None])
        faces = []
        for row in output[suppress(output[:, :4], output[:, 4:], self.min_score)].tolist():
            box = Box(*(round(edge * self.size / scale) for edge in row[:4])).within(width, height)
            if box.left < box.right and box.top < box.bottom:
                likely = tuple(score / sum(row[4:]) for score in row[4:])
                faces.append(Face(box, max(row[4:]), likely))
        return faces

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of every row (n, classes), as indices (n,)."""
        return probabilities.argmax(axis=1)
