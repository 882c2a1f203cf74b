"""Tracking of faces: one number a face, and labels that do not flicker."""

import numpy as np
import pytest

from facemask.core.iou import box_iou
from facemask.data.boxes import Box, matches
from facemask.evaluation.decision import decide
from facemask.inference.recognition import LabelledFace
from facemask.inference.tracker import FRAMES_TO_CHANGE, FRAMES_TO_FORGET, NEW_WEIGHT, Tracker

CLASSES = ["with_mask", "without_mask"]


def tracker() -> Tracker:
    return Tracker(CLASSES, lambda probabilities: decide(probabilities, CLASSES, "without_mask", None))


def face(masked: float | None, left: int = 0) -> LabelledFace:
    """A face 50 pixels wide with this probability of a mask, or one too small to classify."""
    box = Box(left, 0, left + 50, 50)
    if masked is None:
        return LabelledFace(box, 0.9)
    return LabelledFace(box, 0.9, CLASSES[masked < 0.5], {"with_mask": masked, "without_mask": 1 - masked})


def names(events) -> list[str]:
    return [name for name, _ in events]


def test_box_iou_is_intersection_over_union():
    boxes = [Box(0, 0, 10, 10), Box(5, 0, 15, 10), Box(20, 20, 30, 30)]
    assert box_iou(boxes[:1], boxes) == pytest.approx(np.array([[1, 50 / 150, 0]]))
    assert box_iou(boxes, []).shape == (3, 0)


def test_matching_takes_the_highest_iou_first_and_each_box_once():
    ones, others = [Box(0, 0, 10, 10), Box(4, 0, 14, 10)], [Box(3, 0, 13, 10)]
    assert matches(ones, others, 0.3) == [(1, 0)]
    assert matches(ones, others, 0.95) == []


def test_one_odd_frame_does_not_change_the_label():
    following = tracker()
    shown = []
    for masked in [0.95] * 10 + [0.05] + [0.95] * 10:
        [track], _ = following.update([face(masked)])
        shown.append(track.label)
    assert set(shown) == {"with_mask"}


def test_uncertain_frames_do_not_outweigh_certain_ones():
    following = tracker()
    shown = []
    for masked in [0.95] * 5 + [0.45] * (FRAMES_TO_CHANGE + 1):
        [track], _ = following.update([face(masked)])
        shown.append(track.label)
    assert set(shown) == {"with_mask"}


def test_the_probability_of_a_track_is_an_exponential_moving_average():
    following = tracker()
    expected = 0.9
    for masked in (0.9, 0.5, 0.8, 0.6):
        [track], _ = following.update([face(masked)])
        expected += NEW_WEIGHT * (masked - expected)
        assert track.probability == pytest.approx(expected)
    assert 0.6 < expected < 0.9


def test_a_label_changes_after_the_stated_number_of_frames_against_it():
    following = tracker()
    for _ in range(10):
        following.update([face(0.51)])
    labels, events = [], []
    for _ in range(20):
        [track], new = following.update([face(0.0)])
        labels.append(track.label)
        events += names(new)
    assert labels.index("without_mask") == FRAMES_TO_CHANGE - 1
    assert events == ["changed"]


def test_faces_keep_their_numbers_while_they_move_past_each_other():
    following = tracker()
    for step in range(30):
        tracks, _ = following.update(
            [face(0.9, left=10 * step), face(0.1, left=600 - 10 * step)][:: 1 - 2 * (step % 2)]
        )
        numbers = {track.label: track.number for track in tracks}
        if step == 0:
            first = numbers
    assert numbers == first


def test_tracks_are_numbered_from_one_and_numbers_are_not_given_twice():
    following = tracker()
    first, _ = following.update([face(0.9), face(0.9, left=200)])
    assert [track.number for track in first] == [1, 2]
    for _ in range(FRAMES_TO_FORGET):
        following.update([])
    [later], _ = following.update([face(0.9)])
    assert later.number == 3


def test_at_the_end_every_face_that_appeared_leaves():
    following = tracker()
    for _ in range(FRAMES_TO_CHANGE):
        tracks, _ = following.update([face(0.9), face(0.9, left=200)])
    following.update([face(0.9)])
    assert following.end() == [("left", tracks[0]), ("left", tracks[1])]
    assert following.end() == []


def test_frames_against_a_label_are_counted_anew_after_it_changed():
    following = tracker()
    for masked in [0.9] * 10 + [0.0] * (FRAMES_TO_CHANGE + 3):
        [track], _ = following.update([face(masked)])
    assert track.label == "without_mask"
    labels = []
    for _ in range(12):
        [track], _ = following.update([face(1.0)])
        labels.append(track.label)
    turned = next(n for n, masked in enumerate(labels) if masked == "with_mask")
    assert labels[turned:] == ["with_mask"] * (12 - turned)


def test_a_face_appears_once_it_stays_and_leaves_once_it_is_gone_for_long():
    following = tracker()
    seen = [names(following.update([face(0.9)])[1]) for _ in range(FRAMES_TO_CHANGE)]
    assert seen == [[]] * (FRAMES_TO_CHANGE - 1) + [["appeared"]]
    gone = [names(following.update([])[1]) for _ in range(FRAMES_TO_FORGET)]
    assert gone == [[]] * (FRAMES_TO_FORGET - 1) + [["left"]]
    assert following.end() == []


def test_a_face_that_was_missed_in_a_frame_keeps_its_track():
    following = tracker()
    [before], _ = following.update([face(0.9)])
    following.update([])
    [after], _ = following.update([face(0.9, left=5)])
    assert after is before


def test_a_false_positive_is_no_event():
    following = tracker()
    events = [name for faces in [[face(0.9)], *[[]] * 40] for name in names(following.update(faces)[1])]
    assert events == []


def test_a_face_too_small_to_classify_has_no_label_until_it_is_larger():
    following = tracker()
    [track], _ = following.update([face(None)])
    assert (track.label, track.probability) == (None, None)
    [track], _ = following.update([face(0.9)])
    assert track.label == "with_mask"
    [track], _ = following.update([face(None)])
    assert track.label == "with_mask"


def test_a_face_that_appeared_too_small_changes_once_it_is_classified():
    following = tracker()
    seen = [names(following.update([face(None if number < 8 else 0.9)])[1]) for number in range(12)]
    assert [(number, events) for number, events in enumerate(seen) if events] == [(4, ["appeared"]), (8, ["changed"])]
