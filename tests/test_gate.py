"""The gate: a model is worse if a score is below the former interval on the same test split."""

import pytest

from facemask.core.errors import UserError
from facemask.evaluation import gate


def evaluated(accuracy: float, low: float, split: str = "a") -> gate.Evaluated:
    rows = "".join(f"{name},{score},{accuracy},{low},1.0\n" for name in ("test", "scenes") for score in gate.GATED)
    return gate.evaluated(split, f"test_set,score,value,low,high\n{rows}")


def test_a_score_within_the_interval_is_not_worse():
    before = evaluated(0.96, 0.94)
    assert gate.worse(evaluated(0.94, 0.9), before) == []
    accuracy, balanced = gate.worse(evaluated(0.9399, 0.9), before)
    assert accuracy == "accuracy fell from 0.9600 to 0.9399, below the 95 % interval (from 0.9400)"
    assert balanced.startswith("balanced_accuracy fell from")


def test_scores_of_different_test_splits_are_not_compared():
    with pytest.raises(UserError, match="the manifests differ"):
        gate.worse(evaluated(0.99, 0.9), evaluated(0.5, 0.4, split="b"))
