"""Figures of accuracy by slice and by corruption. Each function writes one PNG."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from facemask.evaluation.figures import COLOURS, WRONG, legible, save
from facemask.evaluation.metrics import INTERVAL


def slices(table: pd.DataFrame, split: str, path: Path) -> None:
    """Accuracy with its interval, a row a slice; those whose interval lies below the rest are red."""
    figure = Figure(figsize=(8, 0.3 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = -pd.RangeIndex(len(table)).to_series().to_numpy()
    for place, row in zip(places, table.itertuples(), strict=True):
        colour = WRONG if row.below_rest else COLOURS[0]
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.5)
        axes.plot(row.accuracy, place, "o", color=colour)
        axes.plot(row.rest, place, "|", color="#888888", markersize=9)
    captions = [f"{row.attribute}: {row.slice} ({row.photos:,})" for row in table.itertuples()]
    axes.set_yticks(places, map(legible, captions))
    axes.set(title=f"accuracy on slices of {legible(split)}, {INTERVAL}; grey: on the rest")
    save(figure, path)


def corruptions(table: pd.DataFrame, path: Path) -> None:
    """Accuracy by severity, a panel a corruption, with the interval."""
    names = list(table.corruption.unique())
    columns = 5
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.1 * lines + 0.4), layout="constrained")
    figure.suptitle(f"test accuracy by severity of a corruption (0: none), {INTERVAL}", x=0.01, ha="left", fontsize=11)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for name, axes in zip(names, grid, strict=False):
        part = table[table.corruption == name]
        axes.fill_between(part.severity, part.low, part.high, color=COLOURS[0], alpha=0.2, linewidth=0)
        axes.plot(part.severity, part.accuracy, "o-", color=COLOURS[0], markersize=4)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set(ylim=(0, 1.02), xticks=sorted(table.severity.unique()))
    save(figure, path)
