"""Classification with an exported model, as `stages.export` writes it, without TensorFlow."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.engines.litert import LABELS, Runner, packed_labels
from facemask.evaluation.decision import decide

AnyPath = Path | zipfile.Path  # in a folder or in a zip
DEFAULT_FOLDER = Path("models/tflite")
DEFAULT_FILE = "int8.tflite"
MAX_SIZE = 10_000


class Classifier:
    """A .tflite file with the labels and the decision rule beside it, in a folder or a zip; not thread-safe.

    Attributes
    ----------
    folder, file : path
        The exported folder, and the .tflite file in it.
    classes : list of str
        In the order of the outputs.
    label, threshold : str and float or None
        The decision rule, as in `facemask.evaluation.decision.decide`; the threshold is from 0 to 1.
    margin : float
        Fraction of its size by which a face's box is widened on every side before cropping, 0 to 2.
    min_size : int
        Smallest side of a face, in pixels; the pipeline left smaller ones out, so the model was not evaluated on them.
    size : int
        Side of the square photo the model takes, in pixels.
    probabilities : Runner
        Calibrated probabilities (n, classes), float32, of uint8 RGB pixels (n, size, size, 3).

    Raises
    ------
    UserError
        If the folder or a file in it is missing or not valid.
    """

    def __init__(self, path: AnyPath):
        self.folder = folder_of(path)
        self.file = path / DEFAULT_FILE if path == self.folder else path
        if not self.file.is_file():
            raise UserError(
                f"there is no model {self.file}; in a clone `make repro` or `dvc repro export` makes one, "
                "otherwise name the exported folder: --model FOLDER"
            )
        content = self.file.read_bytes()
        try:
            self.probabilities = Runner(content)
        except (ValueError, RuntimeError):
            raise UserError(f"{self.file} is not a .tflite model, or is truncated; run dvc repro export") from None
        self.classes = read_labels(self.folder / LABELS, packed_labels(content), self.file)
        rule = self.folder / "decision.json"
        self.label, self.threshold = read_values(
            rule,
            label=lambda value: isinstance(value, str),
            threshold=lambda value: value is None or is_number(value, (int, float), 1),
        )
        if self.threshold is not None and self.label not in self.classes:
            raise UserError(f"{rule}: label {self.label!r:.50} is not in labels.txt; run dvc repro export")
        self.margin, self.min_size = read_values(
            self.folder / "faces.json",
            margin=lambda value: is_number(value, (int, float), 2),
            min_size=lambda value: is_number(value, (int,), MAX_SIZE),
        )
        shape = self.probabilities.takes[0]
        self.size = shape[1] if len(shape) == 4 else 0
        if (self.probabilities.takes, self.probabilities.gives) != (
            ((1, self.size, self.size, 3), np.uint8),
            ((1, len(self.classes)), np.float32),
        ):
            raise UserError(
                f"{self.file} does not turn uint8 RGB pixels into {len(self.classes)} probabilities; "
                "run dvc repro export"
            )

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of every row (n, classes), as indices (n,), by the decision rule fitted on validation."""
        return decide(probabilities, self.classes, self.label, self.threshold)


def folder_of(path: AnyPath) -> AnyPath:
    """The exported folder that a path names, itself or by a .tflite file in it."""
    return path.parent if isinstance(path, Path) and path.suffix == ".tflite" else path


def read(file: AnyPath) -> str:
    """Read a text file of the exported folder."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"there is no {file.name} beside the model in {file.parent}; it is part of the folder that "
            "`dvc repro export` writes: take the whole folder"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not text; run dvc repro export") from None


def read_labels(file: AnyPath, packed: bytes | None, model: AnyPath) -> list[str]:
    """Read the labels beside a model, and check that they are those inside the model."""
    labels = read(file).splitlines()
    if packed is None:
        raise UserError(f"{model} has no labels inside, as every exported model has; run dvc repro export")
    if labels != packed.decode(errors="replace").splitlines():
        raise UserError(
            f"{file} does not hold the labels that {model.name} was exported with; take the whole folder that "
            "`dvc repro export` writes"
        )
    return labels


def read_values(file: AnyPath, **checks: Callable[[Any], bool]) -> list[Any]:
    """Read the named values of a JSON file of the exported folder, each validated by its check."""
    try:
        content = json.loads(read(file))
        values = [content[name] for name in checks]
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{file} is not the JSON that belongs there; run dvc repro export") from None
    except KeyError as error:
        raise UserError(f"{file} has no {error.args[0]!r}; run dvc repro export, which writes it") from None
    for (name, allows), value in zip(checks.items(), values, strict=True):
        if not allows(value):
            raise UserError(f"{file}: {name} cannot be {value!r:.50}; run dvc repro export")
    return values


def is_number(value: Any, kinds: tuple[type[int] | type[float], ...], most: float) -> bool:
    """Whether a value is a number of one of these types, from 0 to `most`."""
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value <= most
