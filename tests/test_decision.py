"""The decision rule: threshold and temperature scaling."""

import numpy as np
import pytest

from facemask.evaluation.decision import decide, temperature, threshold_for
from facemask.evaluation.metrics import calibration_error, reliability


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_temperature_scaling_recovers_a_known_temperature(true):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (4000, 3))
    calibrated = softmax(logits)
    labels = np.array([rng.choice(3, p=row) for row in calibrated])
    uncalibrated = softmax(logits * true)
    assert temperature(labels, uncalibrated) == pytest.approx(true, rel=0.1)
    assert calibration_error(reliability(labels, calibrated)) < 0.03
    if true != 1:
        assert calibration_error(reliability(labels, uncalibrated)) > 0.05


def test_validation_without_errors_does_not_make_probabilities_certain():
    labels = np.tile([0, 1], 50)
    probabilities = np.where(np.eye(2)[labels] == 1, 0.999999, 0.000001)
    scaled = softmax(np.log(probabilities) / temperature(labels, probabilities))
    assert 0.97 < scaled.max() < 0.999


@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_is_where_the_cross_entropy_of_smoothed_labels_is_least(classes):
    """Ten of twelve photos are right, with one logit of 3: the best probability of the right class is known."""
    labels = np.arange(12) % classes
    probabilities = softmax(3 * np.eye(classes)[[*labels[:10], *(labels[10:] + 1) % classes]])
    right, wrong = 13 / 14, 1 / 14 / (classes - 1)
    wanted = (10 * right + 2 * wrong) / 12
    best = np.log(wanted * (classes - 1) / (1 - wanted))
    assert temperature(labels, probabilities) == pytest.approx(3 / best, rel=1e-4)


def test_a_threshold_has_at_least_the_recall_asked_for():
    rng = np.random.default_rng(5)
    positive = rng.random(1000) < 0.3
    probability = np.clip(rng.normal(np.where(positive, 0.6, 0.3), 0.15), 0, 1)
    for recall in (0.5, 0.9, 0.99, 1.0):
        threshold = threshold_for(positive, probability, recall)
        assert (probability[positive] >= threshold).mean() >= recall
        assert (probability[positive] > threshold + 1e-6).mean() < recall


def test_a_threshold_is_the_largest_whatever_the_product_is_rounded_to():
    probability = np.arange(100) / 100
    assert threshold_for(np.full(100, True), probability, 0.55) == 0.45  # 0.55 * 100 is 55.00000000000001


def test_a_threshold_applies_to_its_class_alone():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.45, 0.3, 0.25], [0.2, 0.35, 0.45]])
    classes = ["a", "b", "c"]
    assert decide(probabilities, classes, "c", None).tolist() == [0, 0, 2]
    assert decide(probabilities, classes, "c", 0.2).tolist() == [0, 2, 2]
    assert decide(probabilities, classes, "c", 0.25).tolist() == [0, 2, 2]
    assert decide(probabilities, classes, "c", 0.9).tolist() == [0, 0, 1]
