"""Markdown, as the model card, the study and the comment on a pull request show it."""

from collections.abc import Iterable
from typing import Any


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A table; a `|` in a cell is escaped, and a line break becomes a space."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def cell(value: Any) -> str:
    """A value as the text of a cell."""
    return " ".join(str(value).replace("|", r"\|").split())


def with_interval(row: Any) -> str:
    """A score with its interval, if it has one: a row of `metrics.scores_table`."""
    interval = "" if row.low != row.low else f" ({row.low:.4f} to {row.high:.4f})"  # NaN differs from itself
    return f"{row.value:.4f}{interval}"
