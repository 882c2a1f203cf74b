"""The synthetic faces: reproducible, of three classes, all different."""

import numpy as np
import pytest

from facemask.data.images import decode
from facemask.data.sources import synthetic


def test_a_synthetic_face_is_the_same_every_time():
    assert synthetic.draw_member(4, 48) == synthetic.draw_member(4, 48)


def test_classes_come_in_turn_and_faces_differ():
    members = [synthetic.draw_member(index, 48) for index in range(9)]
    assert [name.split("/")[0] for name, _ in members] == list(synthetic.CLASSES) * 3
    assert len({content for _, content in members}) == 9


@pytest.mark.parametrize("label", synthetic.CLASSES)
def test_a_face_has_the_size_asked_for(label):
    assert synthetic.draw_face(np.random.default_rng(0), label, 50).size == (50, 50)


def test_the_name_of_a_face_is_its_class_and_number():
    name, content = synthetic.draw_member(5, 64)
    assert name == "without_mask/00001.jpg"
    assert decode(content).size == (64, 64)
