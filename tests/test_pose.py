"""The pose of a face, from a detector's landmarks, as an attribute of the user's table."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import archived, arguments_of, stage, write_params

from facemask.core.tables import read_csv
from facemask.data.boxes import Box
from facemask.data.slices import read_attributes
from facemask.experiments import pose
from facemask.inference.detectors import Face

HEADER = "sha256,left,top,right,bottom"


def face(nose: tuple[float, float], eyes=((30, 40), (70, 40)), side: int = 100) -> Face:
    return Face(Box(0, 0, side, side), 0.9, landmarks=(*eyes, nose, (35, 80), (65, 80)))


def test_a_face_is_turned_by_how_far_the_nose_is_from_the_middle_of_the_eyes():
    assert pose.turn(face((50, 60))) == 0
    assert pose.turn(face((60, 60))) == pytest.approx(0.25)
    assert pose.turn(face((20, 55))) == pytest.approx(0.75)
    # Turned by 90 degrees in the picture, as a head that lies down.
    assert pose.turn(face((60, 60), eyes=((40, 30), (40, 70)))) == pytest.approx(0.25)
    assert pose.turn(face((50, 60), eyes=((40, 40), (40, 40)))) == 0


def test_the_largest_face_of_a_picture_counts():
    small, large = face((20, 55), side=30), face((59, 60))
    assert [pose.pose(faces) for faces in ([small], [large], [small, large], [face((61, 60))], [])] == [
        "profile", "frontal", "frontal", "turned", "no landmarks",
    ]  # fmt: skip


@pytest.mark.real
def test_the_command_adds_a_column_and_keeps_those_of_the_user(shared, photos, tmp_path):
    write_params(tmp_path, "archive", datasets=archived(photos))
    for name in ("fetch", "survey", "split"):
        done = stage(name, *arguments_of(name))
        assert done.returncode == 0, done.stderr
    faces = read_csv(Path("data/manifest.csv"))
    first = faces.iloc[0]
    Path("attributes.csv").write_text(f"{HEADER},hat\n{first.sha256},0,0,0,0,yes\n")
    weights = tmp_path / "yunet.onnx"
    shutil.copy(shared / "weights/face_detection_yunet_2023mar.onnx", weights)
    for _ in range(2):
        pose.main(Path("data/raw"), Path("data/manifest.csv"), Path("attributes.csv"), str(weights))
        table = read_attributes(Path("attributes.csv"), faces, [faces])
        assert table.hat.tolist().count("yes") == (faces.sha256 == first.sha256).sum()
        assert table.pose.value_counts().idxmax() == "frontal"
        assert set(pd.unique(table.pose)) <= {"frontal", "turned", "profile", "no landmarks"}
        assert len(set(table.pose)) > 1
    # Without some of the faces, as after a change of the data.
    faces.tail(30).to_csv("data/fewer.csv", index=False)
    pose.main(Path("data/raw"), Path("data/fewer.csv"), Path("attributes.csv"), str(weights))
    kept = pd.read_csv("attributes.csv", dtype=str)
    assert set(kept.sha256) == {*faces.tail(30).sha256, first.sha256}
