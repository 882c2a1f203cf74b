"""An exported model without TensorFlow: what `stages.export` writes, from pixels to labels."""

import json
from pathlib import Path

import numpy as np

from facemask.core.errors import UserError
from facemask.engines.litert import Runner
from facemask.evaluation.decision import decide

DEFAULT_FOLDER = Path("models/tflite")
DEFAULT_FILE = "int8.tflite"


class Classifier:
    """A .tflite file with the labels and the decision rule beside it; for one thread at a time.

    Attributes
    ----------
    classes : list of str
        In the order of the outputs.
    label, threshold : str and float or None
        The decision rule, as in `facemask.evaluation.decision.decide`.
    margin : float
        By what share of its size a face's box is widened on every side before it is cut out.
    least_side : int
        Smaller faces, in pixels, the pipeline left out, so that nobody knows how good the model is at them.
    size : int
        Side of the square photo the model takes, in pixels.
    probabilities : Runner
        Calibrated probabilities (n, classes), float32, of uint8 RGB pixels (n, size, size, 3).

    Raises
    ------
    UserError
        If the folder or a file of it is missing, or is something else.
    """

    def __init__(self, path: Path):
        self.file = path / DEFAULT_FILE if path.suffix != ".tflite" else path
        if not self.file.is_file():
            raise UserError(
                f"there is no model {self.file}; in a clone `make repro` or `dvc repro export` makes one, "
                "elsewhere name the exported folder: --model FOLDER"
            )
        self.classes = read(self.file.with_name("labels.txt")).splitlines()
        self.label, self.threshold, self.margin, self.least_side = read_rule(
            self.file.with_name("decision.json"), self.classes
        )
        try:
            self.probabilities = Runner(self.file.read_bytes())
        except (ValueError, RuntimeError):
            raise UserError(f"{self.file} is not a .tflite model, or is cut short; run dvc repro export") from None
        shape = self.probabilities.takes[0]
        self.size = shape[1] if len(shape) == 4 else 0
        if (self.probabilities.takes, self.probabilities.gives) != (
            ((1, self.size, self.size, 3), np.uint8),
            ((1, len(self.classes)), np.float32),
        ):
            raise UserError(
                f"{self.file} does not turn uint8 RGB pixels into {len(self.classes)} probabilities: it is another "
                "model than the labels.txt beside it is of; run dvc repro export"
            )

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of every row (n, classes), as indices (n,), by the rule that was fitted on validation."""
        return decide(probabilities, self.classes, self.label, self.threshold)


def read(file: Path) -> str:
    """A text file of the exported folder."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"there is no {file.name} beside the model in {file.parent}; it is part of the folder that "
            "`dvc repro export` writes: take the whole folder"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not text; run dvc repro export") from None


def read_rule(file: Path, classes: list[str]) -> tuple[str, float | None, float, int]:
    """The label, the threshold, the margin and the least side in decision.json."""
    try:
        rule = json.loads(read(file))
        label, threshold, margin, least_side = (rule[name] for name in ("label", "threshold", "margin", "least_side"))
        numbers = ((threshold, int | float | None), (margin, int | float), (least_side, int))
        known = label in classes or threshold is None
        if not known or not all(isinstance(value, kind) for value, kind in numbers):
            raise UserError(f"{file} does not fit labels.txt beside it; run dvc repro export")
    except (json.JSONDecodeError, TypeError):
        raise UserError(f"{file} is not JSON with a decision rule; run dvc repro export") from None
    except KeyError as error:
        raise UserError(f"{file} has no {error.args[0]!r}; run dvc repro export, which writes it") from None
    return label, threshold, margin, least_side
