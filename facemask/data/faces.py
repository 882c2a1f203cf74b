"""What counts as a usable face, and of which class it is."""

from typing import Annotated

from pydantic import Field, model_validator

from facemask.core.params import Count, Extent, Float, Section


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
        return self
