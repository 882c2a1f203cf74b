"""Detectors: weights are downloaded once and checked; detections at several sizes are merged."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from loopback import offered
from PIL import Image

from facemask.data.boxes import Box
from facemask.inference.detectors import DETECTORS, Face, WeightsError, suppressed, yunet


@contextmanager
def in_place_of_yunet(folder: Path, monkeypatch):
    """Serve a folder on this machine as the address of YuNet; yields the requested paths."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    with offered(folder) as (address, requested):
        monkeypatch.setattr(yunet, "ADDRESS", f"{address}/{yunet.NAME}")
        yield requested


def test_weights_with_another_hash_are_refused_and_not_kept(tmp_path, monkeypatch):
    (tmp_path / yunet.NAME).write_text("something else")
    with in_place_of_yunet(tmp_path, monkeypatch), pytest.raises(WeightsError, match="another sha256"):
        yunet.YuNet(None, [320])
    assert not [path for path in Path("cache").rglob("*") if path.is_file()]


def test_a_failed_download_is_reported(tmp_path, monkeypatch):
    with in_place_of_yunet(tmp_path, monkeypatch), pytest.raises(WeightsError, match=r"cannot be fetched .+HTTPError"):
        yunet.YuNet(None, [320])


@pytest.mark.real
def test_weights_are_downloaded_once_and_again_if_they_are_damaged(shared, monkeypatch):
    with in_place_of_yunet(shared / "weights", monkeypatch) as requested:
        yunet.YuNet(None, [320])
        yunet.YuNet(None, [320])
        assert requested == [f"/{yunet.NAME}"]
        [kept] = [path for path in Path("cache").rglob("*") if path.is_file()]
        kept.write_text("damaged")
        yunet.YuNet(None, [320])
        assert len(requested) == 2


def test_without_a_detector_the_photo_is_the_face():
    detect = DETECTORS["none"](None, [320, 640])
    assert detect(np.zeros((30, 40, 3), np.uint8)) == [Face(None, 1.0)]


def test_of_overlapping_faces_the_one_with_the_highest_score_is_kept():
    best, beside = Face(Box(0, 0, 100, 100), 0.9), Face(Box(60, 0, 160, 100), 0.7)
    shifted = Face(Box(10, 10, 110, 110), 0.8)
    assert suppressed([shifted, beside, best]) == [best, beside]
    assert suppressed([]) == []


@pytest.mark.real
def test_small_and_large_faces_are_detected_once_each_at_two_sizes(shared):
    import cv2

    frame = cv2.VideoCapture(str(shared / "data/four_people_masking.mp4")).read()[1][..., ::-1]
    near = Image.fromarray(frame[140:280, 190:340]).resize((1200, 1120))  # one face fills it
    far = Image.new("RGB", (2400, 1265), "grey")
    far.paste(Image.fromarray(frame).resize((600, 316)), (900, 400))
    weights = shared / "weights/face_detection_yunet_2023mar.onnx"
    counts = {
        sizes: [len(DETECTORS["yunet"](weights, sizes)(np.asarray(photo))) for photo in (near, far)]
        for sizes in ((320,), (1280,), (320, 1280))
    }
    assert counts[320, 1280][0] == counts[320,][0] == 1
    assert counts[320, 1280][1] == counts[1280,][1] >= 4 > counts[320,][1]
