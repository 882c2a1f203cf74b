"""Pictures of detections: scenes with boxes, misses and false alarms. Each function writes one PNG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from facemask.evaluation.figures import COLOURS, RIGHT, WRONG, legible, save, show

COLUMNS = 4


def curves(history: pd.DataFrame, path: Path) -> None:
    """Training loss and validation mAP50 over the epochs; the kept epoch is marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    best = history.epoch[history.map50.idxmax()]
    for axes, name, title in zip(
        figure.subplots(1, 2), ("loss", "map50"), ("training loss", "validation mAP50"), strict=True
    ):
        axes.plot(history.epoch, history[name], color=COLOURS[0])
        axes.axvline(best, color="#888888", linestyle=":", label=f"kept: epoch {best}")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    save(figure, path)


def frame(axes: Axes, box: Sequence[float], colour: str, style: str = "-") -> None:
    """One box: left, top, right, bottom in pixels."""
    left, top, right, bottom = box
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linestyle=style, linewidth=1.2)
    )


def grid(count: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    """An empty figure with a cell a picture."""
    lines = max(1, -(-count // COLUMNS))
    figure = Figure(figsize=(2.6 * COLUMNS, 2.75 * lines + 0.4), layout="constrained")
    figure.suptitle(legible(title), x=0.01, ha="left", fontsize=11)
    cells = list(figure.subplots(lines, COLUMNS, squeeze=False).flat)
    for rest in cells[count:]:
        rest.set_axis_off()
    return figure, cells


def scenes(photos: Sequence[np.ndarray], faces: Sequence[np.ndarray], classes: Sequence[str], path: Path) -> None:
    """Scenes with their faces (n, 5), class and box, in a colour a class."""
    figure, cells = grid(len(photos), "augmented scenes: " + ", ".join(classes))
    for axes, photo, own in zip(cells, photos, faces, strict=False):
        show(axes, photo)
        for kind, *box in own:
            frame(axes, box, COLOURS[int(kind) % len(COLOURS)])
    save(figure, path)


def predictions(
    photos: Sequence[np.ndarray], truths: Sequence[pd.DataFrame], found: Sequence[pd.DataFrame], title: str, path: Path
) -> None:
    """Scenes with truth dotted, and boxes: green where a face was detected and its class is right, else red.

    Parameters
    ----------
    truths, found : sequences of DataFrame
        left, top, right, bottom in pixels of the picture; of what was found also label, score and right_class (bool).
    """
    figure, cells = grid(len(photos), title)
    for axes, photo, own, boxes in zip(cells, photos, truths, found, strict=False):
        show(axes, photo)
        for face in own.itertuples():
            frame(axes, (face.left, face.top, face.right, face.bottom), "white", ":")
        for one in boxes.itertuples():
            tone = RIGHT if one.right_class else WRONG
            frame(axes, (one.left, one.top, one.right, one.bottom), tone)
            words = f"{legible(one.label)} {one.score:.2f}"
            axes.text(one.left, one.top, words, fontsize=5, color="white", backgroundcolor=tone, va="bottom")
            axes.texts[-1].set_bbox({"facecolor": tone, "edgecolor": "none", "pad": 0.6})
    save(figure, path)


def crops(photos: Sequence[np.ndarray], captions: Sequence[str], title: str, path: Path) -> None:
    """Pieces of scenes, each with its caption."""
    figure, cells = grid(len(photos), title)
    for axes, photo, caption in zip(cells, photos, captions, strict=False):
        show(axes, photo, caption)
    save(figure, path)
