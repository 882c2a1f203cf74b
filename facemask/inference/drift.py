"""Drift: how far the faces that a model labels are from those that it was tested on."""

import csv
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facemask.core.errors import UserError
from facemask.data.quality import REMEMBERED

REFERENCE = "reference.csv"
NUMBERS, LABEL = REMEMBERED[:-1], REMEMBERED[-1]
BINS = 10
INT8_STEPS = 256  # of a probability
LEAST_FACES = 30


class Comparison(NamedTuple):
    """A log compared with the reference, by one attribute.

    Attributes
    ----------
    attribute : str
    medians : (float, float) or None
        Of reference and log; None for the label.
    psi, chance : float
        The population stability index, and what it is on average for two samples of these sizes from one distribution.
    ks, p : float or None
        The Kolmogorov-Smirnov statistic of two samples, and its p-value; None for the label.
    """

    attribute: str
    medians: tuple[float, float] | None
    psi: float
    chance: float
    ks: float | None
    p: float | None


def read_faces(file: Path | zipfile.Path) -> dict[str, np.ndarray]:
    """The columns `REMEMBERED` of a log or a reference; a last line that was cut off is left out.

    Raises
    ------
    UserError
        If the file is missing, lacks a column, has a line that is not of numbers and a label, or too few lines.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not text") from None
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        table = list(csv.reader(lines))
    except csv.Error as error:
        raise UserError(f"{file} is no table of faces: {error}") from None
    head, rows = (table[0], table[1:]) if table else ([], [])
    if missing := [name for name in REMEMBERED if name not in head]:
        raise UserError(f"{file} has no column {missing[0]}; `facemask predict --log {file}` and others write one")
    places = [head.index(name) for name in REMEMBERED]
    columns: dict[str, list] = {name: [] for name in REMEMBERED}
    for number, row in enumerate(rows, 2):
        try:
            *values, label = (row[place] for place in places)
            numbers = [float(value) for value in values]
            if not np.isfinite(numbers).all():
                raise ValueError
        except (ValueError, IndexError):
            raise UserError(f"{file}, line {number}: not a face as --log writes it; take the line out") from None
        for name, value in zip(REMEMBERED, (*numbers, label), strict=True):
            columns[name].append(value)
    if len(rows) < LEAST_FACES:
        raise UserError(f"{file} has {len(rows)} faces; at least {LEAST_FACES} are needed to compare")
    return {name: np.array(values) for name, values in columns.items()}


def psi(reference: np.ndarray, log: np.ndarray) -> tuple[float, float]:
    """Population stability index (Siddiqi, "Credit risk scorecards", 2006) of counts, and what chance alone gives.

    Half a face is added to every bin, so that an empty one does not make it infinite. Twice the Kullback-Leibler
    divergence of samples of one distribution is chi-squared, so on average chance gives (bins - 1) (1/n + 1/m).
    """
    expected, actual = ((counts + 0.5) / (counts + 0.5).sum() for counts in (reference, log))
    value = float(((actual - expected) * np.log(actual / expected)).sum())
    return value, (len(reference) - 1) * (1 / reference.sum() + 1 / log.sum())


def in_bins(reference: np.ndarray, log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of each lie between the deciles of the reference; a value of several deciles has a bin of its own."""
    deciles, times = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS), return_counts=True)
    edges = np.union1d(deciles, np.nextafter(deciles[times > 1], np.inf))

    def counts(values: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)

    return counts(reference), counts(log)


def by_label(reference: np.ndarray, log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of each have each label."""
    labels = np.unique(np.concatenate([reference, log]))
    return tuple((one[:, None] == labels).sum(axis=0) for one in (reference, log))


def coarse(faces: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Faces with confidences in the steps of an int8 model: the reference is of float32, which is finer."""
    steps = np.round(faces["confidence"] * INT8_STEPS).clip(max=INT8_STEPS - 1)
    return faces | {"confidence": steps / INT8_STEPS}


def compare(reference: dict[str, np.ndarray], log: dict[str, np.ndarray]) -> list[Comparison]:
    """Compare a log with the reference, by every attribute."""
    from scipy.stats import ks_2samp

    reference, log, found = coarse(reference), coarse(log), []
    for name in NUMBERS:
        tested = ks_2samp(reference[name], log[name])
        medians = float(np.median(reference[name])), float(np.median(log[name]))
        both = psi(*in_bins(reference[name], log[name]))
        found.append(Comparison(name, medians, *both, float(tested.statistic), float(tested.pvalue)))
    return [*found, Comparison(LABEL, None, *psi(*by_label(reference[LABEL], log[LABEL])), None, None)]


def draw(reference: dict[str, np.ndarray], log: dict[str, np.ndarray], title: str, path: Path) -> None:
    """Histograms of reference and log, a panel an attribute."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)
    panels = figure.subplots(1, len(REMEMBERED))
    colours = ("#8a8a8a", "#d1743c")
    for name, axes in zip(NUMBERS, panels, strict=False):
        edges = np.histogram_bin_edges(np.concatenate([reference[name], log[name]]), 30)
        for one, colour, label in zip((reference, log), colours, ("tested on", "log"), strict=True):
            weights = np.full(len(one[name]), 1 / len(one[name]))
            axes.hist(one[name], edges, weights=weights, color=colour, alpha=0.6, label=label)
        axes.set_title(name, loc="left", fontsize=10)
    names = np.unique(np.concatenate([reference[LABEL], log[LABEL]]))
    for offset, one, colour in zip((-0.2, 0.2), (reference, log), colours, strict=True):
        fractions = (one[LABEL][:, None] == names).mean(axis=0)
        panels[-1].barh(np.arange(len(names)) + offset, fractions, 0.4, color=colour, alpha=0.8)
    panels[-1].set_yticks(np.arange(len(names)), names, parse_math=False)
    panels[-1].set_title(LABEL, loc="left", fontsize=10)
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, format="png")
