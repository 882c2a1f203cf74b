"""The splits of a dataset, and how it is divided."""

from typing import Literal

from pydantic import model_validator

from facemask.core.params import Fraction, Section

SPLITS = ("train", "validation", "test")


class Split(Section):
    """Which face goes where."""

    method: Literal["random", "given"]
    leaked: Literal["drop", "keep"]
    train: Fraction
    validation: Fraction
    test: Fraction

    @model_validator(mode="after")
    def whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test add up to {total:g}; they must add up to 1")
        return self
