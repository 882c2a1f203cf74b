"""Markdown tables, for the model card, the study and the comment on a pull request."""

import math
from collections.abc import Iterable
from typing import Any


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A table; a `|` in a cell is escaped, and a line break becomes a space."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: Any) -> str:
    """A value as text for a cell."""
    return " ".join(str(value).replace("|", r"\|").split())


def with_interval(value: str, low: float, high: float) -> str:
    """A score with its interval; without, if the ends of that are NaN."""
    return value if math.isnan(low) else f"{value} ({low:.4f} to {high:.4f})"
