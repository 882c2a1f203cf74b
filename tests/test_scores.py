"""Metrics of known predictions have known values."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from facemask.core.tables import read_csv, write_csv
from facemask.evaluation.metrics import (
    by_class,
    class_table,
    confusion_matrix,
    intervals,
    precision_recall,
    reliability,
    roc,
    scores_table,
    summary,
)
from facemask.evaluation.metrics import score as score_all

CLASSES = ["unmasked", "masked"]
LABELS = np.array([0, 0, 0, 0, 1, 1])
CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.4, 0.1, 0.6])
PROBABILITIES = np.stack([CONFIDENCE, 1 - CONFIDENCE], axis=1)


def score(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> dict:
    return score_all(labels, probabilities, probabilities.argmax(axis=1), np.arange(len(labels)), classes, 1)


def test_scores_of_two_classes_are_those_computed_by_hand():
    result = score(LABELS, PROBABILITIES, CLASSES)
    assert result["photos"] == 6
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result["loss"] == pytest.approx(-sum(map(math.log, [0.9, 0.8, 0.7, 0.4, 0.9, 0.4])) / 6)
    unmasked, masked = result["per_class"]["unmasked"], result["per_class"]["masked"]
    assert (unmasked["precision"], unmasked["recall"], unmasked["photos"]) == (3 / 4, 3 / 4, 4)
    assert (masked["precision"], masked["recall"], masked["photos"]) == (1 / 2, 1 / 2, 2)
    assert unmasked["roc_auc"] == masked["roc_auc"] == pytest.approx(7 / 8)
    assert result["f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_each_of_three_classes_is_scored_against_the_rest():
    labels = np.array([0, 1, 2, 0, 1, 2])
    perfect = np.eye(3)[labels] * 0.97 + 0.01
    result = score(labels, perfect, ["a", "b", "c"])
    for name in ("accuracy", "balanced_accuracy", "precision", "f1", "roc_auc", "average_precision"):
        assert result[name] == pytest.approx(1)
    wrong = score(labels, np.roll(perfect, 1, axis=1), ["a", "b", "c"])
    assert wrong["accuracy"] == 0


def test_a_class_without_photos_is_left_out_of_the_means_that_need_it():
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    result = score(labels, probabilities, ["a", "b", "absent"])
    assert result["balanced_accuracy"] == 1
    assert result["roc_auc"] == 1
    assert "roc_auc" not in result["per_class"]["absent"]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_equal_those_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    labels, predicted = rng.integers(0, classes, (2, 40))
    values = by_class(metrics.confusion_matrix(labels, predicted, labels=range(classes)))
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    for name, value in zip(("precision", "recall", "f1", "photos"), expected, strict=True):
        np.testing.assert_allclose(values[name], value)
    means = summary(metrics.confusion_matrix(labels, predicted))
    assert means["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert means["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert means["f1"] == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))


def test_tables_hold_every_score_and_read_back_what_was_written(tmp_path):
    one_class = score(np.zeros(4, int), PROBABILITIES[:4], ["none", "NA"])
    results = {"test": score(LABELS, PROBABILITIES, CLASSES), "nan": one_class}
    scores, classes = scores_table(results), class_table(results)
    for name, table in (("scores", scores), ("classes", classes)):
        write_csv(tmp_path / name, table)
        pd.testing.assert_frame_equal(read_csv(tmp_path / name), table, rtol=0, atol=1e-6, check_dtype=False)
    assert "roc_auc" not in set(scores.score[scores.test_set == "nan"])
    assert classes["class"].tolist() == [*CLASSES, "none", "NA"]
    assert classes.photos.tolist() == [4, 2, 4, 0]


def test_areas_under_the_curves_are_those_of_the_report():
    result = score(LABELS, PROBABILITIES, CLASSES)
    for label, curve in roc(LABELS, PROBABILITIES, CLASSES).groupby("class"):
        area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
        assert area == pytest.approx(result["per_class"][label]["roc_auc"])
    for label, curve in precision_recall(LABELS, PROBABILITIES, CLASSES).groupby("class"):
        average = -(np.diff(curve.recall) * curve.precision[:-1]).sum()
        assert average == pytest.approx(result["per_class"][label]["average_precision"])
    assert roc(np.zeros(4, int), PROBABILITIES[:4], CLASSES).empty
    counts = confusion_matrix(LABELS, PROBABILITIES.argmax(axis=1), CLASSES)
    assert counts.to_dict("list") == {
        "label": ["unmasked", "unmasked", "masked", "masked"],
        "predicted": ["unmasked", "masked", "unmasked", "masked"],
        "photos": [3, 1, 1, 1],
    }


def test_intervals_have_the_stated_coverage():
    """Intervals of 300 samples of 200 photos, three quarters of them classified correctly."""
    rng, covered, labels = np.random.default_rng(0), 0, np.tile([0, 1], 100)
    for trial in range(300):
        predicted = np.where(rng.random(200) < 0.75, labels, 1 - labels)
        interval = intervals(labels, predicted, np.arange(200), 2, trial)["accuracy"]
        covered += interval["low"] <= 0.75 <= interval["high"]
    assert 0.91 <= covered / 300 <= 0.98


def test_an_interval_of_many_photos_agrees_with_the_normal_approximation():
    labels = np.arange(2000) % 2
    predicted = np.where(np.random.default_rng(0).random(2000) < 0.8, labels, 1 - labels)
    accuracy = (labels == predicted).mean()
    interval = intervals(labels, predicted, np.arange(2000), 2, 1)["accuracy"]
    width = 2 * 1.96 * math.sqrt(accuracy * (1 - accuracy) / 2000)
    assert interval["high"] - interval["low"] == pytest.approx(width, rel=0.07)


def test_near_duplicates_count_as_one_observation():
    labels = np.tile([0, 1], 50)
    predicted = np.where(np.random.default_rng(1).random(100) < 0.8, labels, 1 - labels)
    single = intervals(labels, predicted, np.arange(100), 2, 1)["accuracy"]
    grouped = intervals(np.tile(labels, 9), np.tile(predicted, 9), np.tile(np.arange(100), 9), 2, 1)["accuracy"]
    naive = intervals(np.tile(labels, 9), np.tile(predicted, 9), np.arange(900), 2, 1)["accuracy"]
    width = {name: one["high"] - one["low"] for name, one in (("1", single), ("9", grouped), ("naive", naive))}
    assert width["9"] == pytest.approx(width["1"], rel=0.05)
    assert width["naive"] < 0.5 * width["1"]


def test_an_interval_without_errors_ends_by_the_rule_of_three_of_its_groups():
    labels, groups = np.array([0] * 10 + [1] * 90), np.array([0] * 5 + list(range(1, 96)))
    perfect = intervals(labels, labels, groups, 2, 7)  # 96 groups, 6 of the smaller class
    assert perfect["accuracy"] == {"low": pytest.approx(1 - 3 / 96), "high": 1}
    assert perfect["balanced_accuracy"] == perfect["f1"] == {"low": pytest.approx(1 - 3 / 12), "high": 1}
    hopeless = intervals(labels, 1 - labels, groups, 2, 7)
    assert hopeless["accuracy"] == {"low": 0, "high": pytest.approx(3 / 96)}
    few = intervals(labels[:2], labels[:2], groups[4:6], 2, 7)
    assert few["accuracy"] == {"low": 0, "high": 1}
    one_wrong = intervals(labels, np.append(labels[:-1], 0), groups, 2, 7)["accuracy"]
    assert perfect["accuracy"]["low"] < one_wrong["high"]


def test_every_headline_has_an_interval_around_it():
    result = score(LABELS, PROBABILITIES, CLASSES)
    for name, interval in result["interval"].items():
        assert interval["low"] <= result[name] <= interval["high"]
    assert {"accuracy", "balanced_accuracy", "precision", "f1"} == set(result["interval"])


def test_reliability_counts_every_photo_once():
    table = reliability(LABELS, PROBABILITIES)
    assert table.photos.sum() == 6
    assert (table.confidence.diff().dropna() > 0).all()
    assert list(table.index) == list(range(len(table)))
    certain = reliability(np.array([0, 1]), np.eye(2))
    assert certain.to_numpy().tolist() == [[1, 1, 2]]
    assert len(reliability(np.array([0, 0]), np.array([[1.0, 0], [0.95, 0.05]]))) == 1
    assert len(reliability(np.array([0, 0]), np.array([[0.92, 0.08], [0.95, 0.05]]))) == 2


def test_every_photo_has_the_same_weight_in_the_calibration_error():
    """Nine photos with confidence 0.9, all right; one with 0.6, wrong: 0.9 * 0.1 + 0.1 * 0.6."""
    confidence = np.array([0.9] * 9 + [0.6])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert score(np.array([0] * 9 + [1]), probabilities, CLASSES)["calibration_error"] == pytest.approx(0.15)


def test_scores_that_are_undefined_for_one_class_are_left_out():
    result = score(np.zeros(4, int), PROBABILITIES[:4], CLASSES)
    assert result["accuracy"] == 0.75
    assert "roc_auc" not in result
    assert "average_precision" not in result


def test_the_curves_have_the_points_counted_by_hand_and_no_class_that_never_occurs():
    classes = [*CLASSES, "absent"]
    probabilities = np.column_stack([PROBABILITIES, np.zeros(6)])
    curve = roc(LABELS, probabilities, classes)
    assert list(curve.columns) == ["class", "false_positive_rate", "true_positive_rate"]
    assert list(curve.index) == list(range(len(curve)))
    assert list(curve["class"].unique()) == CLASSES
    points = curve[curve["class"] == "masked"].drop(columns="class").to_numpy().tolist()
    assert points == [[0, 0], [0, 0.5], [0.25, 0.5], [0.25, 1], [1, 1]]
    curve = precision_recall(LABELS, probabilities, classes)
    assert list(curve.columns) == ["class", "recall", "precision"]
    assert list(curve["class"].unique()) == CLASSES
    assert list(curve.index) == list(range(len(curve)))
    points = curve[curve["class"] == "masked"].drop(columns="class").to_numpy().tolist()
    assert points == [[1, 1 / 3], [1, 2 / 3], [0.5, 0.5], [0.5, 1], [0, 1]]


@pytest.mark.parametrize("curve", [roc, precision_recall])
def test_curves_of_one_class_alone_are_empty_tables_with_the_same_columns(curve):
    alone = curve(np.zeros(4, int), PROBABILITIES[:4], CLASSES)
    assert alone.empty
    assert list(alone.columns) == list(curve(LABELS, PROBABILITIES, CLASSES).columns)


def test_tables_of_scores_have_a_row_a_test_set_and_score_and_a_row_a_class():
    results = {name: score(LABELS, PROBABILITIES, CLASSES) for name in ("test", "other")}
    table = scores_table(results)
    assert list(table.columns) == ["test_set", "score", "value", "low", "high"]
    row = table[(table.test_set == "other") & (table.score == "accuracy")].iloc[0]
    assert row.value == pytest.approx(4 / 6)
    assert (row.low, row.high) == tuple(results["other"]["interval"]["accuracy"].values())
    assert table[table.score == "loss"].low.isna().all()
    report = class_table(results)
    assert list(report.columns) == [
        "test_set", "class", "precision", "recall", "f1", "photos", "roc_auc", "average_precision"
    ]  # fmt: skip
    assert report[["test_set", "class", "photos"]].to_numpy().tolist() == [
        ["test", "unmasked", 4], ["test", "masked", 2], ["other", "unmasked", 4], ["other", "masked", 2]
    ]  # fmt: skip
    one = score(np.zeros(4, int), PROBABILITIES[:4], CLASSES)
    assert list(scores_table({"test": one}).columns) == list(table.columns)
    assert list(class_table({"test": one}).columns) == list(report.columns)


def test_a_confusion_matrix_lists_classes_that_never_occur():
    table = confusion_matrix(np.array([0, 0]), np.array([0, 0]), ["a", "b"])
    assert table.to_numpy().tolist() == [["a", "a", 2], ["a", "b", 0], ["b", "a", 0], ["b", "b", 0]]


def test_the_interval_of_a_score_is_of_its_groups_and_seed():
    groups = np.array([0, 0, 0, 1, 1, 2])
    predicted = PROBABILITIES.argmax(axis=1)
    result = score_all(LABELS, PROBABILITIES, predicted, groups, CLASSES, 5)
    assert result["interval"] == intervals(LABELS, predicted, groups, 2, 5)
    assert result["interval"] != intervals(LABELS, predicted, np.arange(6), 2, 5)


def test_a_class_of_one_photo_is_ranked_and_counts_in_the_mean():
    labels = np.array([0, 0, 1, 2])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.1, 0.6, 0.3]])
    result = score(labels, probabilities, ["a", "b", "c"])
    assert [one["roc_auc"] for one in result["per_class"].values()] == pytest.approx([1, 2 / 3, 1])
    assert result["roc_auc"] == pytest.approx(8 / 9)
