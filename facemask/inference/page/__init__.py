"""The page of `facemask serve`, which `make page` also puts where no server runs: the model is then in the browser.

index.html imports engine.js, which is server.js or browser.js; both export `describe` and `predict`.
"""

from importlib.resources import files
from typing import Any

from pydantic import BaseModel, Field

from facemask.core.errors import UserError
from facemask.inference.classifier import AnyPath, Classifier
from facemask.inference.detectors.mask_detector import MaskDetector
from facemask.inference.drawing import colour


class Model(BaseModel):
    """The model in use."""

    file: str
    size: int = Field(description="side of the square input, in pixels")
    classes: dict[str, str] = Field(description="the classes and their colours")
    label: str = Field(description="the class that the threshold is for")
    threshold: float | None = Field(description="label is predicted from this probability on; null: the argmax")
    margin: float = Field(description="fraction of its size by which a face is widened on every side")
    min_size: int = Field(description="smaller faces are not labelled, in pixels")
    card: str | None = Field(description="the model card, Markdown")


def described(classifier: Classifier | MaskDetector, min_size: int, card: str | None) -> dict[str, Any]:
    """The values of a `Model`, with the text of its card."""
    return {
        "file": classifier.file.name,
        "size": classifier.size,
        "classes": {
            name: "#{:02x}{:02x}{:02x}".format(*colour(name, classifier.classes)) for name in classifier.classes
        },
        "label": classifier.label,
        "threshold": classifier.threshold,
        "margin": classifier.margin,
        "min_size": min_size,
        "card": card,
    }


def card_text(file: AnyPath) -> str:
    """The text of a model card.

    Raises
    ------
    UserError
        If it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is no model card: it is not UTF-8; name another one") from None


def read(name: str) -> str:
    """The text of a file of the page."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
