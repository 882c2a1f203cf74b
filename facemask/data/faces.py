"""What counts as a usable face, and of which class it is."""

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, model_validator

from facemask.core.params import Count, Extent, Float, Section


def simple(name: str) -> str:
    """`With Mask`, `WithMask` and `with_mask` are one name: letters and digits, lower case; of `+`, the whole."""
    name = unicodedata.normalize("NFC", name).casefold()
    return re.sub(r"[\W_]", "", name) or name


def aliases_of(classes: dict[str, list[str]]) -> dict[str, str]:
    """The class that each folder name means, by the name made `simple`.

    Raises
    ------
    ValueError
        If a name means two classes.
    """
    aliases: dict[str, str] = {}
    for label, names in classes.items():
        for name in (label, *names):
            if aliases.setdefault(simple(name), label) != label:
                raise ValueError(
                    f"classes: {name} means both {aliases[simple(name)]} and {label}, "
                    "for case, spaces and _ do not matter; take it out of one of them"
                )
    return aliases


class Survey(Section):
    """The classes and the names they go by, the faces that are large enough, what is a near-duplicate."""

    classes: dict[str, list[str]]
    margin: Annotated[Float, Field(ge=0, le=2)]
    min_size: Count
    near_duplicates: Annotated[Float, Field(ge=0.8, le=1)]
    max_rejected: Extent

    @model_validator(mode="after")
    def classified(self) -> "Survey":
        if len(self.classes) < 2:
            raise ValueError("classes names fewer than two classes")
        for label in self.classes:
            if not label.strip() or not label.isprintable():
                raise ValueError(f"classes: {label!r} is no name; give one that can be seen, on one line")
        aliases_of(self.classes)
        return self


def folder_class(member: str, aliases: dict[str, str]) -> str | None:
    """The class of the innermost folder that names one."""
    folders = PurePosixPath(member).parent.parts
    return next((aliases[simple(folder)] for folder in reversed(folders) if simple(folder) in aliases), None)
