"""Detectors: fetched once and checked; faces at several sizes, each told once."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemask.data.boxes import Box
from facemask.inference.detectors import DETECTORS, Face, WeightsError, suppressed, yunet


@contextmanager
def offered(folder: Path, monkeypatch):
    """Serve a folder on this machine as the place where YuNet's file is; what was asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(yunet, "ADDRESS", f"http://127.0.0.1:{server.server_port}/{yunet.NAME}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def test_weights_of_another_content_are_refused_and_not_kept(tmp_path, monkeypatch):
    (tmp_path / yunet.NAME).write_text("something else")
    with offered(tmp_path, monkeypatch), pytest.raises(WeightsError, match="another sha256"):
        yunet.YuNet(None, [320])
    assert not [path for path in Path("cache").rglob("*") if path.is_file()]


def test_an_address_that_is_gone_is_a_reason(tmp_path, monkeypatch):
    with offered(tmp_path, monkeypatch), pytest.raises(WeightsError, match=r"cannot be fetched .+HTTPError"):
        yunet.YuNet(None, [320])


@pytest.mark.real
def test_weights_are_fetched_once_and_again_when_they_are_spoilt(shared, monkeypatch):
    with offered(shared / "weights", monkeypatch) as asked:
        yunet.YuNet(None, [320])
        yunet.YuNet(None, [320])
        assert asked == [f"/{yunet.NAME}"]
        [kept] = [path for path in Path("cache").rglob("*") if path.is_file()]
        kept.write_text("spoilt")
        yunet.YuNet(None, [320])
        assert len(asked) == 2


def test_without_a_detector_the_photo_is_the_face():
    detect = DETECTORS["none"](None, [320, 640])
    assert detect(np.zeros((30, 40, 3), np.uint8)) == [Face(None, 1.0)]


def test_of_overlapping_faces_the_surest_is_kept():
    sure, beside = Face(Box(0, 0, 100, 100), 0.9), Face(Box(60, 0, 160, 100), 0.7)
    shifted = Face(Box(10, 10, 110, 110), 0.8)
    assert suppressed([shifted, beside, sure]) == [sure, beside]
    assert suppressed([]) == []


@pytest.mark.real
def test_small_and_large_faces_are_found_at_two_sizes_each_once(shared):
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
