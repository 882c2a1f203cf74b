"""Which faces are usable, and how folder names map to classes."""

import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, model_validator

from facemask.core.params import Count, Extent, Float, Section


def simple(name: str) -> str:
    """A normalised name, its letters and digits in lower case: `With Mask` and `with_mask` are one; `+` stays `+`."""
    name = unicodedata.normalize("NFC", name).casefold()
    return re.sub(r"[\W_]", "", name) or name


def aliases_of(classes: dict[str, list[str]]) -> dict[str, str]:
    """The class of each folder name, by its `simple` name.

    Raises
    ------
    ValueError
        If a name means two classes, or a class has none that can be seen, on one line.
    """
    aliases: dict[str, str] = {}
    for label, names in classes.items():
        if not label.strip() or not label.isprintable():
            raise ValueError(f"classes: {label!r} is no name; give one that can be seen, on one line")
        for name in (label, *names):
            if aliases.setdefault(simple(name), label) != label:
                raise ValueError(
                    f"classes: {name} means both {aliases[simple(name)]} and {label}, "
                    "for case, spaces and _ do not matter; take it out of one of them"
                )
    return aliases


class Survey(Section):
    """Classes and their folder names, the smallest face, and the limit of near-duplicates."""

    classes: dict[str, list[str]]
    margin: Annotated[Float, Field(ge=0, le=2)]
    min_size: Count
    near_duplicates: Annotated[Float, Field(ge=0.8, le=1)]
    max_rejected: Extent

    @model_validator(mode="after")
    def classified(self) -> "Survey":
        if len(self.classes) < 2:
            raise ValueError("classes names fewer than two classes")
        aliases_of(self.classes)
        return self

    @property
    def searched(self) -> bool:
        """Whether near-duplicates are searched, not identical files only."""
        return self.near_duplicates < 1


def folder_class(member: str, aliases: dict[str, str]) -> str | None:
    """The class of the innermost folder that names one."""
    folders = PurePosixPath(member).parent.parts
    return next((aliases[simple(folder)] for folder in reversed(folders) if simple(folder) in aliases), None)
