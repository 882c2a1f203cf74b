"""params.yaml as one typed, checked, read-only object."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.repository import resolve


def number(value: Any) -> Any:
    """Let a float be written as PyYAML misreads it: `1e-05` without a dot is text to YAML 1.1."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Float = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
Share = Annotated[Float, Field(gt=0, lt=1)]
Extent = Annotated[Float, Field(ge=0, lt=1)]
Probability = Annotated[Float, Field(ge=0, le=1)]
Degrees = Annotated[Float, Field(ge=0, le=45)]
Count = Annotated[int, Field(ge=1)]
Handle = Annotated[str, Field(pattern=r"^\w[\w.-]*/\w[\w.-]*(/[1-9]\d*)?$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Images = Annotated[int, Field(ge=30)]
Side = Annotated[int, Field(ge=32, le=1024)]


class Section(BaseModel):
    """Unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Dataset(Section):
    """Where the photos come from."""

    source: Literal["demo", "archive", "kaggle"]
    path: str | None
    handle: Handle | None
    sha256: Sha256 | None
    images: Images
    size: Side

    @model_validator(mode="after")
    def located(self) -> "Dataset":
        if self.source == "archive" and self.path is None:
            raise ValueError("source archive needs path: the zip or folder to read")
        if self.source == "kaggle" and self.handle is None:
            raise ValueError("source kaggle needs handle: owner/name/version")
        return self


class Other(Dataset):
    """A further dataset, with its own place in the split."""

    use: Literal["test", "train"]
    path: str | None = None
    handle: Handle | None = None
    sha256: Sha256 | None = None
    images: Images = 300
    size: Side = 96


class Survey(Section):
    """What counts as a usable face, and what as a copy."""

    classes: dict[str, list[str]]
    margin: Annotated[Float, Field(ge=0, le=2)]
    min_size: Count
    copy_distance: Annotated[int, Field(ge=0, le=80)]
    max_rejected: Extent

    @model_validator(mode="after")
    def classified(self) -> "Survey":
        if len(self.classes) < 2:
            raise ValueError("classes names fewer than two classes")
        return self


class Split(Section):
    """Which face goes where."""

    method: Literal["random", "given"]
    leaked: Literal["drop", "keep"]
    train: Share
    validation: Share
    test: Share

    @model_validator(mode="after")
    def whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test add up to {total:g}; they must add up to 1")
        return self


class Augment(Section):
    """How far a copy may differ from its original."""

    copies: Annotated[int, Field(ge=0, le=64)]
    rotation: Degrees
    zoom: Extent
    stretch: Extent
    shift: Extent
    shear: Degrees
    flip: bool
    brightness: Extent
    contrast: Extent
    saturation: Extent
    grey: Probability
    low_resolution: Probability
    jpeg: Probability
    erase: Probability


class Head(Section):
    """The dense layers before the logits."""

    units: list[Count]
    dropout: list[Extent]

    @model_validator(mode="after")
    def paired(self) -> "Head":
        if len(self.units) != len(self.dropout):
            raise ValueError("units and dropout must have the same length: one rate per layer")
        return self


class Decision(Section):
    """From probabilities to a label."""

    calibrate: bool
    label: str
    recall: Share | None


class Export(Section):
    """What the exported model must hold."""

    calibration_images: Count
    max_accuracy_drop: Extent


class Params(Section):
    """Every knob of the pipeline; params.yaml explains each."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    threads: Count
    dataset: Dataset
    others: dict[Annotated[str, Field(pattern=r"^\w[\w-]*$")], Other]
    survey: Survey
    split: Split
    image_size: Side
    augment: Augment
    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    alpha: Annotated[Float, Field(gt=0, le=2)]
    weights: str
    train_from: str
    head: Head
    lr: Annotated[Float, Field(gt=0, le=1)]
    lr_schedule: Literal["constant", "cosine", "plateau"]
    epochs: Count
    patience: Count
    batch_size: Count
    class_weights: bool
    decision: Decision
    export: Export

    @model_validator(mode="after")
    def weights_fit_cut(self) -> "Params":
        if self.weights == "none" and self.train_from != "input":
            raise ValueError(
                f"train_from: {self.train_from} would freeze untrained layers; "
                "with weights: none only train_from: input makes sense"
            )
        return self

    @model_validator(mode="after")
    def names_differ(self) -> "Params":
        if taken := {"dataset", "train", "validation", "test"} & set(self.others):
            raise ValueError(f"others: {sorted(taken)[0]} is the name of a split; choose another")
        if self.decision.label not in self.survey.classes:
            raise ValueError(
                f"decision.label: {self.decision.label} is none of survey.classes ({', '.join(self.survey.classes)})"
            )
        return self


def keys_of(model: type[BaseModel], location: tuple) -> list[str]:
    """The keys allowed beside the one at location."""
    for part in location[:-1]:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            model = get_args(annotation)[-1] if get_args(annotation) else annotation
    return list(model.model_fields)


def explain(error: dict, file: Path) -> str:
    """One line for one pydantic error: the key, the value, what is allowed."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), keys_of(Params, error["loc"]), 1)
        return f"{file}: {key} is not a parameter" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{file}: {key} is missing"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"])
        return f"{file}: {key}: {message}" if key else f"{file}: {message}"
    allowed = error["msg"][0].lower() + error["msg"][1:]
    return f"{file}: {key}: {error['input']!r} is not allowed: {allowed}"


def load(file: Path = Path("params.yaml")) -> Params:
    """Read and check a params file.

    Raises
    ------
    UserError
        If the file is missing, is not YAML, or holds an unknown key, a wrong type or an
        impossible value; one line names the key, the value and what is allowed.
    """
    try:
        return Params.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; restore it with: git checkout {file}") from None
    except ValidationError as error:
        raise UserError("; ".join(explain(one, file) for one in error.errors())) from None
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets through what int() and datetime() say, as of 2024-13-45
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None


def check() -> None:
    """Read and check params.yaml."""
    load()


def weights_file(weights: str) -> Path | None:
    """The file that `weights` names, or None for `none` and `imagenet`.

    Raises
    ------
    UserError
        If there is no such file.
    """
    if weights in ("none", "imagenet"):
        return None
    path = resolve(weights)
    if not path.is_file():
        raise UserError(f"weights: there is no file {path}; give none, imagenet or a .weights.h5 file")
    return path


if __name__ == "__main__":
    cli.run(check)
