"""Figures. Each function writes one PNG."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from text_unidecode import unidecode

from facemask.core.files import replacing

COLOURS = ("#2a7f9e", "#d1743c", "#5c8a3a", "#8e5ea2", "#b5533c", "#4b5d73", "#c49a26", "#3f8f7f")
RIGHT, WRONG = "#3b7d3b", "#b3382c"

mpl.rcParams.update(
    {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlelocation": "left",
        "axes.prop_cycle": cycler(color=COLOURS),
        "grid.color": "#e4e4e4",
        "legend.frameon": False,
        "font.size": 10,
        "savefig.dpi": 110,
        "text.parse_math": False,  # a class may have dollars in its name
    }
)


@functools.cache
def glyphs() -> frozenset[int]:
    """The characters that the figures' font can draw."""
    return frozenset(font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap())


def legible(text: str) -> str:
    """A name in characters that the font has; others, such as Chinese, are transliterated."""
    return "".join(one if ord(one) in glyphs() else unidecode(one) or f"U+{ord(one):04X}" for one in text).strip()


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def curves(history: pd.DataFrame, path: Path) -> None:
    """Learning curves: loss and accuracy of training and validation by epoch; the best epoch is marked."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    best = history.epoch[history.val_loss.idxmin()]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(history.epoch, history[name], label="training", color=COLOURS[0])
        axes.plot(history.epoch, history[f"val_{name}"], label="validation", color=COLOURS[1])
        axes.axvline(best, color="#888888", linestyle=":", label=f"best epoch: {best}")
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)


def confusion_matrix(table: pd.DataFrame, split: str, path: Path) -> None:
    """Confusion matrix, of `metrics.confusion_matrix`, coloured by the fraction of each true class."""
    classes = table.label.unique()
    counts = table.photos.to_numpy().reshape(len(classes), -1)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.9 * len(classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        tone = "white" if fractions[row, column] > 0.5 else "#222222"
        axes.text(column, row, f"{count}\n{fractions[row, column]:.1%}", ha="center", va="center", color=tone)
    axes.set(xlabel="predicted", ylabel="true", title=f"confusion matrix, {legible(split)}")
    names = list(map(legible, classes))
    axes.set_xticks(range(len(classes)), names, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), names)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    save(figure, path)


def roc(curves: pd.DataFrame, areas: Mapping[str, float], split: str, path: Path) -> None:
    """ROC curve of every class against the rest, of `metrics.roc`, with the area under it."""
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    for label, curve in curves.groupby("class"):
        name = f"{legible(label)}  (AUC {areas[label]:.4f})"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=name)
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linestyle=":")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {legible(split)}")
    if len(curves):  # a set of one class has none
        axes.legend(loc="lower right")
    save(figure, path)


def precision_recall(curves: pd.DataFrame, averages: Mapping[str, float], split: str, path: Path) -> None:
    """Precision-recall curve of every class against the rest, of `metrics.precision_recall`, with average precision."""
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    for label, curve in curves.groupby("class"):
        axes.plot(curve.recall, curve.precision, label=f"{legible(label)}  (AP {averages[label]:.4f})")
    axes.set(xlabel="recall", ylabel="precision", title=f"precision-recall, {legible(split)}", ylim=(0, 1.03))
    if len(curves):  # a set of one class has none
        axes.legend(loc="lower left")
    save(figure, path)


def reliability(table: pd.DataFrame, split: str, path: Path) -> None:
    """Reliability diagram, of `metrics.reliability`: accuracy by confidence; a dot's area is its number of photos."""
    figure = Figure(figsize=(5, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linestyle=":", label="perfectly calibrated")
    axes.plot(table.confidence, table.accuracy, color=COLOURS[0], linewidth=1)
    axes.scatter(table.confidence, table.accuracy, s=300 * table.photos / table.photos.max() + 8, color=COLOURS[0])
    for bin_ in table.itertuples():
        axes.annotate(
            f"{bin_.photos}", (bin_.confidence, bin_.accuracy), (6, -10), textcoords="offset points", fontsize=7
        )
    left = min(0.5, table.confidence.min()) - 0.05
    axes.set(
        xlabel="confidence",
        ylabel="accuracy",
        title=f"reliability diagram, {legible(split)}",
        xlim=(left, 1.03),
        ylim=(-0.05, 1.05),
    )
    figure.legend(loc="outside lower center")
    save(figure, path)


def show(axes: Axes, photo: np.ndarray, caption: str = "", tone: str = "#222222") -> None:
    """One photo without ticks, its caption below."""
    axes.imshow(photo, interpolation="antialiased")
    axes.set_xlabel(legible(caption), color=tone, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def predictions_grid(
    photos: Sequence[np.ndarray],
    labels: Sequence[str],
    predicted: Sequence[str],
    confidence: Sequence[float],
    title: str,
    path: Path,
) -> None:
    """Photos with their true and predicted labels; errors are red."""
    columns, width, height, gap, top = 5, 1.9, 2.3, 0.05, 0.4  # inches
    lines = max(1, -(-len(photos) // columns))
    figure = Figure(figsize=(width * columns, height * lines + top))
    figure.suptitle(legible(title), x=0.01, ha="left", fontsize=11)
    axes = figure.add_axes((0, 0, 1, height * lines / (height * lines + top)))  # one, since a grid of them takes longer
    for number, (photo, true, guess, probability) in enumerate(zip(photos, labels, predicted, confidence, strict=True)):
        left, upper = width * (number % columns) + gap, height * (number // columns)
        side = width - 2 * gap
        axes.imshow(photo, interpolation="antialiased", extent=(left, left + side, upper + side, upper))
        caption, tone = f"{guess}  {probability:.0%}\ntrue: {true}", RIGHT if true == guess else WRONG
        axes.text(left + side / 2, upper + width, legible(caption), color=tone, fontsize=8, ha="center", va="top")
    axes.set(xlim=(0, width * columns), ylim=(height * lines, 0))
    axes.set_axis_off()
    save(figure, path)


def contact_sheet(originals: np.ndarray, samples: np.ndarray, path: Path) -> None:
    """Each original (n, h, w, 3) with its augmented samples (n, m, h, w, 3) beside it."""
    count, versions = samples.shape[:2]
    figure = Figure(figsize=(versions + 1, count + 0.3), layout="constrained")
    grid = figure.subplots(count, versions + 1, squeeze=False)
    for row, original, augmented in zip(grid, originals, samples, strict=True):
        for axes, photo in zip(row, (original, *augmented), strict=True):
            show(axes, photo)
    grid[0, 0].set_title("original", fontsize=9)
    grid[0, 1].set_title("augmented samples", fontsize=9)
    save(figure, path)


def groups(rows: Sequence[tuple[str, Sequence[np.ndarray], Sequence[str]]], path: Path) -> None:
    """Near-duplicates, a group a row: its title, its photos, their captions."""
    columns = max((len(photos) for _, photos, _ in rows), default=2)  # as wide as the title
    figure = Figure(figsize=(1.5 * columns + 0.6, 1.75 * max(1, len(rows)) + 0.5), layout="constrained")
    figure.suptitle(
        "the largest groups of near-duplicates" if rows else "no photo has a near-duplicate",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    grid = figure.subplots(max(1, len(rows)), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, (title, photos, captions) in zip(grid, rows, strict=False):
        for axes, photo, caption in zip(line, photos, captions, strict=False):
            axes.set_axis_on()
            show(axes, photo, caption)
        line[0].set_title(title, fontsize=9)
    save(figure, path)


def accuracy_and_size(table: pd.DataFrame, interval: str, path: Path) -> None:
    """Accuracy with its interval beside size, a row a model; those on the Pareto front stand out.

    Parameters
    ----------
    table : DataFrame
        A row a model: name, megabytes, accuracy, low, high, front (bool).
    interval : str
        What the interval is called.
    """
    figure = Figure(figsize=(9, 0.32 * len(table) + 1.3), layout="constrained")
    scores, sizes = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    table = table.sort_values(["megabytes", "accuracy"], ascending=[False, True], ignore_index=True)
    for front, colour, label in (
        (True, COLOURS[1], "on the Pareto front"),
        (False, COLOURS[0], "not on it"),
    ):
        part = table[table.front == front]
        reach = [part.accuracy - part.low, part.high - part.accuracy]
        scores.errorbar(part.accuracy, part.index, xerr=reach, fmt="o", color=colour, elinewidth=1, label=label)
        bars = sizes.barh(part.index, part.megabytes, height=0.5, color=colour)
        sizes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=8)
    scores.set_yticks(table.index, table.name)
    scores.set(title=f"test accuracy, {interval}")
    sizes.set(title="megabytes in int8")
    sizes.margins(x=0.15)
    figure.legend(*scores.get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    save(figure, path)
