"""The drawn faces: the same for everyone, three classes, no two alike."""

import numpy as np
import pytest

from facemask.data.images import decode
from facemask.data.sources import synthetic


def test_a_face_is_the_same_every_time_it_is_drawn():
    assert synthetic.draw_member(4, 48) == synthetic.draw_member(4, 48)


def test_classes_come_in_turn_and_faces_differ():
    drawn = [synthetic.draw_member(index, 48) for index in range(9)]
    assert [name.split("/")[0] for name, _ in drawn] == list(synthetic.CLASSES) * 3
    assert len({content for _, content in drawn}) == 9


@pytest.mark.parametrize("label", synthetic.CLASSES)
def test_a_face_has_the_size_asked_for(label):
    assert synthetic.draw_face(np.random.default_rng(0), label, 50).size == (50, 50)


def test_names_and_content_fit_together():
    name, content = synthetic.draw_member(5, 64)
    assert name == "without_mask/00001.jpg"
    assert decode(content).size == (64, 64)
