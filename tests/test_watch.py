"""facemask watch: files and live streams, and all ways in which they end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, draw_photos, facemask, wait_until
from hypothesis import example, given
from hypothesis import strategies as st
from loopback import serving

from facemask.inference.stopwatch import Stopwatch
from facemask.inference.video import Source, shown

RATE = 25


def picture(number: int) -> np.ndarray:
    """A frame whose brightness is its number, 0 to 249."""
    return np.full((64, 96, 3), number, np.uint8)


def write_video(path: str, frames: list[np.ndarray]) -> None:
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), RATE, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()


def read_video(path) -> list[np.ndarray]:
    """All frames of a video."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


@contextmanager
def camera(*shows: int):
    """An HTTP camera on this machine; each number is how many frames a connection gives before it breaks.

    After a negative number of frames it is silent instead. When the numbers are used up it answers 404.
    Yields its address, and the list of the frames that were sent.
    """
    waiting, sent = list(shows), []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if not waiting:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                frames = waiting.pop(0)
                for number in range(abs(frames)):
                    jpeg = cv2.imencode(".jpg", picture(number % 250))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    sent.append(number)
                    time.sleep(1 / RATE)
                time.sleep(60 if frames < 0 else 0)
            except OSError:
                return None

    with serving(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}/stream", sent


def watch(*args, model: Path) -> subprocess.CompletedProcess:
    """Watch without a detector: every frame is a face."""
    return facemask("watch", "--detector", "none", "--model", model, *args)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_every_frame_of_a_file_is_labelled_and_written(suffix, exported):
    [face] = draw_photos(Path("photos"), 1)
    write_video("in.avi", [cv2.resize(cv2.imread(str(face)), (65, 97))] * 30)
    done = watch("in.avi", "--output", f"out{suffix}", model=exported)
    assert done.returncode == 0, done.stderr
    before, after = read_video("in.avi"), read_video(f"out{suffix}")
    assert len(before) == len(after) == 30
    assert after[20].shape == before[20].shape
    assert np.abs(after[20].astype(int) - before[20]).max() > 60  # a box and a label are drawn
    appeared, left = map(json.loads, done.stdout.splitlines())
    assert (appeared["event"], left["event"]) == ("appeared", "left")
    assert (appeared["time"], left["time"]) == (pytest.approx(4 / RATE), pytest.approx(29 / RATE))
    assert appeared["label"] in (exported / "labels.txt").read_text().split()
    summary = done.stderr.splitlines()
    assert re.search(r"30 frames in [\d.]+ s: [\d.]+ frames/s$", summary[-2])
    assert re.search(r"read [\d.]+, detect [\d.]+, classify [\d.]+, draw and write [\d.]+; CPU time", summary[-1])


def test_events_can_go_to_a_file(exported):
    write_video("in.avi", [picture(100)] * 10)
    done = watch("in.avi", "--events", "events.jsonl", model=exported)
    assert done.stdout == ""
    events = Path("events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in events] == ["appeared", "left"]


def test_a_lost_camera_is_reopened_until_patience_ends(exported):
    with camera(40, 40) as (address, _):
        done = watch(address, "--output", "out.mp4", "--patience", "4", model=exported)
    assert done.returncode == 1
    messages = [line.removeprefix("facemask watch: ") for line in done.stderr.splitlines()]
    host = address.removesuffix("/stream")
    assert messages[0] == f"{host} is lost; trying again for 4 s"
    assert messages[1].startswith(f"{host} is back after ")
    assert messages[2] == messages[0]
    assert messages[-1] == f"{host} did not come back within 4 s; given up"
    assert len(read_video("out.mp4")) > 40
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["appeared", "left"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT", event["clock"]) for event in events)


def test_the_waits_before_a_lost_camera_is_opened_again_double_up_to_the_longest():
    waits = []

    class Skipped(threading.Event):
        """Does not wait, and is set after seven times."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 7:
                self.set()
            return self.is_set()

    with camera(5) as (address, _):
        source = Source(address, 1000, Stopwatch(), print)
        source._stop = Skipped()
        with source:
            wait_until(lambda: len(waits) == 7, "the camera is tried six times")
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_a_silent_camera_is_a_lost_one(exported):
    with camera(-20) as (address, _):
        done = watch(address, "--patience", "1", model=exported)
    assert done.returncode == 1
    assert "did not come back within 1 s; given up" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_complete_files(number, exported):
    with camera(100_000) as (address, sent):
        command = [sys.executable, "-m", "facemask", "watch", address, "--detector=none", f"--model={exported}"]
        with subprocess.Popen(
            [*command, "--output=out.mp4"], env={"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert json.loads(process.stdout.readline())["event"] == "appeared"
            before = len(sent)
            wait_until(lambda: len(sent) >= before + RATE, "the camera sends further frames")
            process.send_signal(number)
            events, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert json.loads(events.splitlines()[-1])["event"] == "left"
    assert stderr.startswith("facemask watch: stopped by the user\n")
    assert read_video("out.mp4")


def test_a_slow_consumer_of_a_live_source_gets_its_newest_frames():
    with camera(200) as (address, _), Source(address, 1, Stopwatch(), print) as source:
        assert source.live
        frames = iter(source)
        last = next(frames).pixels.mean()
        for _ in range(3):
            dropped = source.dropped + 5
            wait_until(lambda least=dropped: source.dropped >= least, "five frames are dropped", 30)
            newest = next(frames).pixels.mean()
            assert newest - last > 5
            last = newest


def test_a_recording_of_a_live_source_plays_at_real_speed(exported):
    with camera(75) as (address, _):
        done = watch(address, "--output", "out.mp4", "--patience", "0.5", model=exported)
    last = json.loads(done.stdout.splitlines()[-1])["time"]
    assert len(read_video("out.mp4")) == pytest.approx(last * RATE, abs=2)


FAULTS = {
    "no such file": (["missing.mp4"], "there is no file missing.mp4"),
    "no video": (["text.mp4"], "text.mp4 cannot be opened as a video"),
    "no camera": (["99"], "99 cannot be opened as a camera"),
    "no number of a camera": (["99999999999999"], "there is no file 99999999999999; a camera is a number .0 to 9999."),
    "a number of many digits": (["9" * 5000], "there is no file 9+; a camera is a number"),
    "no stream, and its password": (
        ["http://me:se@cret@127.0.0.1:9/stream"],
        "http://127.0.0.1:9 cannot be opened as a stream$",
    ),
    "no folder to write to": (["in.avi", "--output", "text.mp4/out.mp4"], "File exists|Not a directory"),
    "no video format": (["in.avi", "--output", "out.txt"], "out.txt is none of .mp4 .mkv .avi"),
    "two outputs in one": (["in.avi", "--output", "o.avi", "--events", "./o.avi"], "are the same file o.avi"),
    "the log in one of them": (["in.avi", "--events", "o.csv", "--log", "./o.csv"], "are the same file o.csv"),
    "the video itself": (["in.avi", "--output", "in.avi"], "in.avi is the video itself"),
    "events to nowhere": (["in.avi", "--events", "nowhere/e.jsonl"], "No such file or directory .nowhere/e.jsonl"),
    "no windows": (["in.avi", "--window"], "this OpenCV opens no windows here"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(fault, exported):
    args, message = FAULTS[fault]
    write_video("in.avi", [picture(9)] * 3)
    before = Path("in.avi").read_bytes()
    Path("text.mp4").write_text("no video")
    Path("kept.jsonl").write_text("kept\n")
    done = watch(*args, *([] if "--events" in args else ["--events", "kept.jsonl"]), model=exported)
    assert done.returncode == 1
    assert Path("kept.jsonl").read_text() == "kept\n"
    [line] = done.stderr.splitlines()
    assert re.search(f"^facemask watch:.*{message}", line)
    assert Path("in.avi").read_bytes() == before


def test_a_video_that_breaks_off_is_said(exported):
    write_video("in.avi", [picture(100)] * 60)
    whole = Path("in.avi").read_bytes()
    Path("in.avi").write_bytes(whole[: len(whole) // 2])
    done = watch("in.avi", "--output", "out.mp4", model=exported)
    assert done.returncode == 3
    frames = len(read_video("out.mp4"))
    assert 10 < frames < 50
    assert f"in.avi ended after {frames} of about 60 frames; it may be damaged\n" in done.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_that_does_not_fit_on_the_disk_is_an_error(suffix, exported):
    rng = np.random.default_rng(0)
    write_video("in.avi", [rng.integers(0, 255, (97, 65, 3), np.uint8) for _ in range(90)])
    command = f"{sys.executable} -m facemask watch in.avi --detector none --model {exported} --output out{suffix}"
    done = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 40; exec {command}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith(f"facemask watch: out{suffix} could not be written completely; is the disk full?\n")


@pytest.mark.parametrize("option", ["--output", "--events"])
@pytest.mark.parametrize("link", [None, Path.hardlink_to, Path.symlink_to])
def test_an_output_that_is_the_source_by_any_name_is_refused(option, link, exported):
    write_video("in.avi", [picture(9)] * 3)
    before = Path("in.avi").read_bytes()
    if link:
        link(Path("link.avi"), Path("in.avi"))
    named = "link.avi" if link else Path("in.avi").absolute()
    for source in ("in.avi", Path("in.avi").absolute().as_uri()):
        done = watch(source, option, named, model=exported)
        assert (done.returncode, done.stderr) == (
            1, f"facemask watch: {option}: {named} is the video itself; name another file\n",
        )  # fmt: skip
        assert Path("in.avi").read_bytes() == before


def test_outputs_are_unchanged_if_the_source_has_no_frame(exported):
    write_video("whole.avi", [picture(9)] * 3)
    content = Path("whole.avi").read_bytes()
    Path("cut.avi").write_bytes(content[: content.index(b"movi") + 4])
    Path("out.avi").write_bytes(content)
    Path("events.jsonl").write_text("kept\n")
    done = watch("cut.avi", "--output", "out.avi", "--events", "events.jsonl", model=exported)
    assert (done.returncode, done.stderr) == (1, "facemask watch: cut.avi has no frame that can be read\n")
    assert Path("out.avi").read_bytes() == content
    assert Path("events.jsonl").read_text() == "kept\n"
    watch("cut.avi", "--output", "new.avi", model=exported)
    assert not Path("new.avi").exists()


def test_a_name_that_is_not_utf_8_is_read_and_written(exported):
    name, output = os.fsdecode(b"caf\xe9.avi"), os.fsdecode(b"out\xe9.avi")
    write_video("in.avi", [picture(9)] * 10)
    Path("in.avi").rename(name)
    done = watch(name, "--output", output, model=exported)
    assert done.returncode == 0, done.stderr
    assert len(read_video(Path(output).rename("out.avi"))) == 10


SECRET = "s3cr3t"
AROUND = st.text("ab1/:@?#&=%[] \n\\é", max_size=6)


@given(
    st.sampled_from(["http", "rtsp", "rtmps", "HTTP"]), st.sampled_from(["cam.example", "[::1]:554", "10.0.0.9:8554"]),
    AROUND, AROUND,
)  # fmt: skip
@example("rtsp", "cam.example", "", "/")
@example("http", "cam.example", "a@", "@b")
def test_no_part_of_an_address_that_may_be_secret_is_shown(scheme, host, before, after):
    secret = f"{before}{SECRET}{after}"
    for address in (
        f"{scheme}://user:{secret}@{host}/live", f"{scheme}://{before}:{SECRET}/{after}@{host}/live",
        f"{scheme}://{host}/live?user=u&password={secret}", f"{scheme}://{host}/user=u_password={secret}_channel=1",
        f"{scheme}://u:p@{host}/live?password={secret}", f"{scheme}:/user:{secret}@{host}/live",
        f"{scheme}://{host}/live#{secret}",
    ):  # fmt: skip
        assert SECRET not in shown(address), address


def test_names_without_secrets_are_shown():
    assert shown("rtsp://user:password@10.0.0.9:8554/live?token=1") == "rtsp://10.0.0.9:8554"
    assert [shown(name) for name in ("0", "film.mp4", "of 12/film.mp4")] == ["0", "film.mp4", "of 12/film.mp4"]


@pytest.mark.slow
@pytest.mark.real
def test_four_people_put_masks_on_in_a_video(real_model, shared):
    """All are unmasked for the first second; one takes the mask off again and back on; at the end all wear one."""
    video = shared / "data/four_people_masking.mp4"
    from facemask.inference.classifier import Classifier
    from facemask.inference.detectors import DETECTORS
    from facemask.inference.recognition import Recognizer

    detector = DETECTORS["yunet"](shared / "weights/face_detection_yunet_2023mar.onnx", [320])
    recognize = Recognizer([(detector, Classifier(real_model))])
    with Source(str(video), 1, Stopwatch(), print) as source:
        seen = [(frame.seconds, [face.label for face in recognize(frame.pixels) if face.label]) for frame in source]
    end = seen[-1][0]
    for first, last, label in ((0, 1, "without_mask"), (end - 2, end, "with_mask")):
        frames = [labels for seconds, labels in seen if first <= seconds <= last and labels]
        assert len(frames) >= 0.9 * RATE * (last - first)
        assert np.mean([set(labels) == {label} for labels in frames]) >= 0.9
        assert np.mean([len(labels) == 4 for labels in frames]) >= 0.9
