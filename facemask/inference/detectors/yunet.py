"""YuNet by OpenCV (W. Wu et al., "YuNet: a tiny millisecond-level face detector", 2023)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from facemask.core.errors import UserError
from facemask.core.terminal import silenced
from facemask.data.boxes import Box
from facemask.inference.detectors import Face, WeightsError, suppressed
from facemask.inference.download import fetched

NAME = "face_detection_yunet_2023mar.onnx"
ADDRESS = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{NAME}"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# At OpenCV's default of 0.9, two in three masked faces are missed, and few unmasked ones.
MIN_SCORE = 0.6


class YuNet:
    """Detects faces after scaling the longest side of a photo to each of `sizes`, in pixels.

    A small size is for faces that fill the photo, a large one for distant faces; detections at several sizes are merged
    by non-maximum suppression.

    Raises
    ------
    WeightsError
        If the weights are not a model, or cannot be downloaded.
    """

    def __init__(self, weights: Path | None, sizes: Sequence[int]):
        self.sizes = sizes
        try:
            file = weights or fetched("the face detector", ADDRESS, SHA256, NAME)
        except UserError as error:
            raise WeightsError(str(error)) from None
        if not file.is_file():
            raise WeightsError(f"there is no file {file}")
        with silenced():
            try:
                # From memory, since of a file OpenCV chooses the parser by its name, and some end the process.
                content = np.fromfile(file, np.uint8)
                self._network = cv2.FaceDetectorYN.create("onnx", content, np.empty(0, np.uint8), (32, 32), MIN_SCORE)
                self._network.detect(np.zeros((32, 32, 3), np.uint8))
            except cv2.error:
                raise WeightsError(f"{file} is not YuNet as an ONNX file; its address is {ADDRESS}") from None

    def __call__(self, pixels: np.ndarray) -> list[Face]:
        """Faces in uint8 RGB pixels (height, width, 3), by falling score."""
        return suppressed([face for size in self.sizes for face in self._find(pixels, size)])

    def _find(self, pixels: np.ndarray, size: int) -> Iterator[Face]:
        """Faces in pixels whose longest side is scaled to `size`."""
        height, width = pixels.shape[:2]
        scale = size / max(height, width)
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._network.setInputSize(shape)
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        for left, top, across, down, *places, score in [] if rows is None else rows.tolist():
            box = Box(*(round(value / scale) for value in (left, top, left + across, top + down)))
            box = box.within(width, height)
            if box.left < box.right and box.top < box.bottom:
                landmarks = tuple((x / scale, y / scale) for x, y in zip(places[::2], places[1::2], strict=True))
                yield Face(box, score, landmarks=landmarks)
