"""params.yaml, read and validated.

A section of parameters is a class beside the code that it configures. What a stage reads is a class in its script,
made of such sections and of single values; `load` returns it, validated and read-only.
"""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from facemask.core.errors import UserError


def number(value: Any) -> Any:
    """Accept a float that PyYAML reads as text: in YAML 1.1, `1e-05` without a dot is no number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Float = Annotated[float, BeforeValidator(number), Field(allow_inf_nan=False)]
Fraction = Annotated[Float, Field(gt=0, lt=1)]
Extent = Annotated[Float, Field(ge=0, lt=1)]
Probability = Annotated[Float, Field(ge=0, le=1)]
Degrees = Annotated[Float, Field(ge=0, le=45)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Annotated[int, Field(ge=32, le=1024)]


# Shortens a value in a message: a few YAML anchors can expand to more than fits into memory.
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 2, 80, 80


class Section(BaseModel):
    """A section of parameters: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Model = TypeVar("Model", bound=Section)


def nested(annotation: Any) -> list[type[BaseModel]]:
    """The sections in a type such as `dict[str, A | B]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested(part)]


def at(model: type[BaseModel], location: tuple) -> list[type[BaseModel]]:
    """The sections that may contain the last key of a location; several where a discriminator chooses among them."""
    models = [model]
    for part in location[:-1]:
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        models = [inner for field in fields for inner in nested(field.annotation)] or models
    return models


def explain(error: ErrorDetails, model: type[BaseModel], file: Path) -> str:
    """A pydantic error as one line: the key, the value and what is allowed."""
    location, context = error["loc"], error.get("ctx", {})
    models = at(model, location)
    kinds = {kind for one in models for field in one.model_fields.values() for kind in get_args(field.annotation)}
    if len(models) > 1 and len(location) > 2 and location[-2] in kinds:  # pydantic adds the discriminator's value there
        location = (*location[:-2], location[-1])
    key = ".".join(map(str, location))
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), [name for one in models for name in one.model_fields], 1)
        return f"{file}: {key} is not a parameter" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{file}: {key} is missing"
    if error["type"] == "union_tag_not_found":
        return f"{file}: {key}.{context['discriminator'].strip(chr(39))} is missing"
    if error["type"] == "union_tag_invalid":
        key = f"{key}.{context['discriminator'].strip(chr(39))}"
        return f"{file}: {key}: {context['tag']!r} is not allowed: give one of {context['expected_tags']}"
    if error["type"] == "value_error":
        return f"{file}: {key}: {context['error']}" if key else f"{file}: {context['error']}"
    allowed = error["msg"][0].lower() + error["msg"][1:]
    return f"{file}: {key}: {SHORT.repr(error['input'])} is not allowed: {allowed}"


def read(file: Path = Path("params.yaml")) -> dict[str, Any]:
    """The content of a params file, not validated.

    Raises
    ------
    UserError
        If the file is missing or is not YAML with keys and values.
    """
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; restore it with: git checkout {file}") from None
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets errors of datetime() through, as for 2024-13-45
        raise UserError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{file} is nested too deeply to be read") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file} is not valid YAML: it holds no keys")
    return tree


def validate(model: type[Model], tree: dict[str, Any], file: Path = Path("params.yaml")) -> Model:
    """Validate the content of a params file.

    Raises
    ------
    UserError
        If it has an unknown key, a wrong type or an impossible value; one line names the key, the value and what is
        allowed.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise UserError("; ".join(explain(one, model, file) for one in error.errors())) from None
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def load(model: type[Model], file: Path = Path("params.yaml")) -> Model:
    """Read and validate the part of a params file that a stage declares as the fields of `model`.

    Raises
    ------
    UserError
        As `read` and `validate` do.
    """
    tree = read(file)
    return validate(model, {name: tree[name] for name in model.model_fields if name in tree}, file)
