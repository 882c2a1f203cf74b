"""The gate: a model is worse if a score is below the former interval on the same test split."""

import pytest

from facemask.core.errors import UserError
from facemask.evaluation import gate


def evaluated(accuracy: float, low: float, photos: int = 383, split: str = "a") -> gate.Evaluated:
    rows = "".join(f"{name},{score},{accuracy},{low},1.0\n" for name in ("test", "scenes") for score in gate.GATED)
    classes = f"test,one,{photos - photos // 2}\ntest,other,{photos // 2}\nscenes,one,7\n"
    return gate.evaluated(split, f"test_set,score,value,low,high\n{rows}", f"test_set,class,photos\n{classes}")


def test_a_score_within_the_interval_is_not_worse():
    before = evaluated(0.96, 0.94)
    assert gate.worse(evaluated(0.94, 0.9), before) == []
    accuracy, balanced = gate.worse(evaluated(0.9399, 0.9), before)
    assert accuracy == "accuracy fell from 0.9600 to 0.9399, below the 95 % interval (from 0.9400)"
    assert balanced.startswith("balanced_accuracy fell from")


def test_one_error_is_not_worse_than_none():
    """Every bootstrap sample of a perfect result is perfect, so its interval has no width."""
    assert gate.worse(evaluated(382 / 383, 0.99), evaluated(1.0, 1.0)) == []
    assert len(gate.worse(evaluated(379 / 383, 0.98), evaluated(1.0, 1.0))) == 2
    assert gate.worse(evaluated(2 / 6, 0.0), evaluated(2 / 6, 0.0, photos=6)) == []


def test_one_error_in_a_small_class_is_not_worse_than_none():
    rows = "".join(f"test,{score},1.0,1.0,1.0\n" for score in gate.GATED)
    classes = "test_set,class,photos\ntest,rare,10\ntest,one,195\ntest,other,195\n"
    before = gate.evaluated("a", f"test_set,score,value,low,high\n{rows}", classes)
    fewer = "test,accuracy,0.9975,0.99,1.0\ntest,balanced_accuracy,0.966667,0.9,1.0\n"
    assert gate.worse(gate.evaluated("a", f"test_set,score,value,low,high\n{fewer}", classes), before) == []


def test_scores_of_different_test_splits_are_not_compared():
    with pytest.raises(UserError, match="the manifests differ"):
        gate.worse(evaluated(0.99, 0.9), evaluated(0.5, 0.4, split="b"))
