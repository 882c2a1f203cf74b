"""Quality gates: which models may be exported, promoted to champion, or merged."""

import io
from typing import NamedTuple

import pandas as pd

from facemask.core.errors import UserError
from facemask.core.files import DECIMALS
from facemask.core.tables import read_csv
from facemask.evaluation.metrics import INTERVAL

GATED = ("accuracy", "balanced_accuracy")


def check_export(variants: pd.DataFrame, metric: str, allowed: float) -> None:
    """Refuse a model if an exported variant lost too much of a test metric.

    Parameters
    ----------
    variants : DataFrame
        Columns variant and METRIC_drop, among others.
    metric : str
        accuracy or mAP50.

    Raises
    ------
    UserError
        Naming the variants and their losses.
    """
    drop = f"{metric.lower()}_drop"
    lost = variants[variants[drop].round(DECIMALS) > allowed]  # 0.98 - 0.96 > 0.02
    if len(lost):
        losses = ", ".join(f"{row['variant']} loses {row[drop]:.4f}" for row in lost.to_dict("records"))
        raise UserError(f"{losses} of test {metric}; export.max_{drop} allows {allowed:g}")


class Evaluated(NamedTuple):
    """A model's scores on the test split, and which split that is.

    Attributes
    ----------
    split : str
        The hash of the manifest.
    scores : DataFrame
        Columns value and low, the lower end of the interval, by score.
    """

    split: str
    scores: pd.DataFrame


def evaluated(split: str, scores: str) -> Evaluated:
    """The scores on the test split, from the CSV of `metrics.scores_table`."""
    return Evaluated(split, read_csv(io.StringIO(scores)).query("test_set == 'test'").set_index("score"))


def worse(now: Evaluated, before: Evaluated) -> list[str]:
    """The scores that are below the interval of what they were before, a message each.

    A fixed difference would be two photos of a small test split and forty of a large one.

    Raises
    ------
    UserError
        If the test splits differ.
    """
    if now.split != before.split:
        raise UserError("the manifests differ, so the scores are of different test splits")
    values = {score: (now.scores.value[score], before.scores.value[score], before.scores.low[score]) for score in GATED}
    return [
        f"{score} fell from {former:.4f} to {value:.4f}, below the {INTERVAL} (from {low:.4f})"
        for score, (value, former, low) in values.items()
        if value < low
    ]
