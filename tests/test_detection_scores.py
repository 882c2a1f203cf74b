"""Scores of detectors: average precision counted by hand, equal to COCO's, detection recall and end-to-end recall."""

import numpy as np
import pandas as pd
import pytest

from facemask.core.errors import UserError
from facemask.data.detections import boxes_of, suppress
from facemask.evaluation import detection, gate
from facemask.evaluation.average_precision import EDGES, coco, map50, matched

CLASSES = ["off", "on"]


def faces(*rows: tuple) -> pd.DataFrame:
    """Truth of (scene, label, left, top, side)."""
    return pd.DataFrame(
        [(scene, label, x, y, x + side, y + side) for scene, label, x, y, side in rows],
        columns=["scene", "label", *EDGES],
    )


def boxes(*rows: tuple) -> pd.DataFrame:
    """Found boxes of (scene, left, top, side, p_off, p_on)."""
    return pd.DataFrame(
        [(scene, x, y, x + side, y + side, off, on) for scene, x, y, side, off, on in rows],
        columns=["scene", *EDGES, "p_off", "p_on"],
    )


TRUTH = faces((0, "on", 0, 0, 40), (0, "on", 100, 0, 40), (1, "off", 0, 0, 40))
FOUND = boxes(
    (0, 0, 0, 40, 0.0, 0.9),  # right
    (0, 200, 0, 40, 0.0, 0.8),  # a false alarm
    (0, 102, 0, 40, 0.1, 0.7),  # right, and a little off
    (1, 0, 0, 40, 0.3, 0.6),  # on a face of the other class, which is its second guess
)


def test_average_precision_is_what_is_counted_by_hand():
    _, report = detection.score(TRUTH, FOUND, np.array(["a", "b"]), CLASSES, {"off": "on"}, 0.5, 7)
    ap = report.set_index("class").ap50
    # Of "on" the boxes are right, wrong, right, wrong: precision 1 up to recall 0.5, then 2 / 3. 51 and 50 recalls.
    assert ap["on"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    # Of "off" the highest-scoring box is right, at recall 1; the one of 0.1 comes after it.
    assert ap["off"] == pytest.approx(1)
    assert map50(TRUTH, FOUND, CLASSES, 2) == pytest.approx((ap["on"] + 1) / 2)


def test_variants_merge_classes_and_recalls_count_faces():
    scores, _ = detection.score(TRUTH, FOUND, np.array(["a", "b"]), CLASSES, {"off": "on"}, 0.5, 7)
    value = scores.set_index("score").value
    # All three faces are of one class then; right, wrong, right, right: 1 up to a third, then 3 / 4.
    assert value.map50_faces == pytest.approx((34 + 67 * 3 / 4) / 101)
    assert value.map50_merged == pytest.approx(value.map50_faces)
    assert value.recall_20 == value.recall_32 == 1
    assert value.right_32 == pytest.approx(2 / 3)
    assert value.precision == pytest.approx(2 / 4)


def test_our_average_precision_is_cocos():
    rng = np.random.default_rng(3)
    truth = faces(
        *((int(scene), CLASSES[i % 2], *rng.integers(0, 300, 2), 40) for i, scene in enumerate(rng.integers(0, 20, 90)))
    )
    near = truth.sample(70, random_state=1)[["scene", *EDGES]].reset_index(drop=True)
    near[EDGES] += rng.normal(0, 5, (70, 4))
    found = near.assign(p_off=rng.random(70), p_on=rng.random(70))
    precision = coco(truth, found, CLASSES, 20)
    assert map50(truth, found, CLASSES, 20) == pytest.approx(precision[0, :, :, 0].mean(), abs=1e-9)


def test_nothing_found_and_nothing_to_find_are_scores_too():
    nothing = FOUND.iloc[:0]
    assert map50(TRUTH, nothing, CLASSES, 2) == 0
    scores, report = detection.score(TRUTH, nothing, np.array(["a", "b"]), CLASSES, {}, 0.5, 7)
    values = scores.set_index("score").value
    assert values[["map50", "recall_32"]].tolist() == [0, 0]
    assert np.isnan(values.precision)  # no box is shown
    assert report.ap50.tolist() == [0, 0]
    assert detection.best_threshold(TRUTH, nothing, CLASSES) == 0.5
    assert len(matched(TRUTH.iloc[:0], FOUND)) == 4


def test_a_face_is_found_once_by_the_best_box_that_overlaps_enough():
    twice = boxes((0, 0, 0, 40, 0, 0.9), (0, 1, 0, 40, 0, 0.8), (0, 100, 30, 40, 0, 0.7))
    assert matched(TRUTH, twice).tolist() == [0, -1, -1]


def test_the_threshold_is_where_f1_is_best():
    threshold = detection.best_threshold(TRUTH, FOUND, CLASSES)
    assert 0.7 - 1e-6 <= threshold <= 0.7
    # What is stored has six decimals, and may not leave out the box that it was chosen by.
    third = FOUND.assign(p_on=FOUND.p_on.replace(0.7, 0.33333361), p_off=0.0)
    assert detection.best_threshold(TRUTH, third, CLASSES) == 0.333333


def test_the_interval_holds_the_value_and_scenes_of_a_group_are_drawn_together():
    scores, _ = detection.score(TRUTH, FOUND, np.array(["a", "b"]), CLASSES, {}, 0.5, 7)
    row = scores.set_index("score").loc["map50"]
    assert row.low <= row.value <= row.high
    drawn = detection.draws(np.array(["a", "b", "a"]), 0)
    assert (drawn[:, 0] == drawn[:, 2]).all()


def test_a_bootstrap_round_without_the_class_or_the_size_says_nothing_of_it():
    """One scene of thirty has the only face of a class, which is also the only large one; all boxes are right."""
    truth = faces((0, "on", 0, 0, 40), *((scene, "off", 0, 0, 24) for scene in range(1, 30)))
    found = boxes((0, 0, 0, 40, 0.0, 0.9), *((scene, 0, 0, 24, 0.9, 0.0) for scene in range(1, 30)))
    scores, report = detection.score(truth, found, np.arange(30), CLASSES, {}, 0.5, 7)
    assert report[["ap50", "low", "high"]].to_numpy().tolist() == [[1, 1, 1]] * 2
    assert scores.set_index("score").loc["recall_32", ["value", "low", "high"]].tolist() == [1, 1, 1]
    empty, _ = detection.score(truth.iloc[:0], found, np.arange(30), CLASSES, {}, 0.5, 7)
    assert empty.set_index("score").loc["map50", ["value", "low", "high"]].isna().all()


def test_an_export_that_lost_too_much_is_refused():
    table = pd.DataFrame({"variant": ["float32", "int8"], "map50_drop": [0.0, 0.05]})
    gate.check_export(table, "mAP50", 0.05)
    with pytest.raises(UserError, match=r"^int8 loses 0.0500 of test mAP50; export.max_map50_drop allows 0.02$"):
        gate.check_export(table, "mAP50", 0.02)


def test_of_overlapping_boxes_the_best_is_kept_whatever_its_class():
    places = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10], [60, 0, 70, 10]], float)
    scores = np.array([[0.5, 0.1], [0.2, 0.9], [0.6, 0.0], [0.01, 0.01]])
    assert suppress(places, scores, 0.1).tolist() == [1, 2]
    assert suppress(places, scores, 0.95).tolist() == []


def test_boxes_are_given_in_pixels_of_the_photo():
    outputs = np.array([[[0.1, 0.2, 0.3, 0.4, 0.9, 0.1]], [[0, 0, 1, 1, 0.0, 0.01]]])
    [row] = boxes_of(outputs, np.array([0.5, 1.0]), 100, CLASSES, 0.02).to_dict("records")
    assert row == pytest.approx(
        {"scene": 0, "left": 20, "top": 40, "right": 60, "bottom": 80, "p_off": 0.9, "p_on": 0.1}
    )
    assert len(boxes_of(outputs[1:], np.array([1.0]), 100, CLASSES, 0.02)) == 0
