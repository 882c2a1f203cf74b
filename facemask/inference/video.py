"""Frames from files, cameras and streams, and frames into files."""

import contextlib
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.core.errors import UserError
from facemask.inference.stopwatch import Stopwatch

SILENCE_MS = 5000
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
USUAL_RATE = 25.0
CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class Frame(NamedTuple):
    """uint8 RGB pixels (height, width, 3), and seconds since the start."""

    seconds: float
    pixels: np.ndarray


class Source:
    """Reads frames in a thread of its own: of a file every one, of a live source the newest.

    A live source that is lost is opened again, after waits that double up to `LONGEST_WAIT` seconds.

    Parameters
    ----------
    name : str
        A video file, the number of a camera, or an address (rtsp://, http://, ...).
    patience : float
        Seconds after which a lost live source is given up.

    Attributes
    ----------
    shown : str
        The name as it may be printed: without the user and password of an address.
    live : bool
    rate : float
        Frames a second, as the source says.
    frames : int or None
        How many a file has, about.
    dropped : int
        Frames of a live source that came while an earlier one was not taken yet.

    Raises
    ------
    UserError
        On opening, if there is no such source; on iterating, if it is lost for good.
    """

    def __init__(self, name: str, patience: float, stopwatch: Stopwatch):
        self.name, self.patience, self.stopwatch = name, patience, stopwatch
        self.shown = re.sub(r"(?<=://)[^/]*@", "", name)
        if not name.isdecimal() and "://" not in name and not Path(name).is_file():
            raise UserError(f"there is no file {name}; a camera is a number (0), a stream an address (rtsp://...)")
        self._capture = self._open()
        if not self._capture.isOpened():
            kind = "camera" if name.isdecimal() else "stream" if "://" in name else "video"
            raise UserError(f"{self.shown} cannot be opened as a {kind}")
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.live = name.isdecimal() or ("://" in name and count <= 0)
        self.frames = count if count > 0 else None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else USUAL_RATE
        self.dropped = 0
        self._queue = queue.Queue(maxsize=1 if self.live else 4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(2 * SILENCE_MS / 1000)

    def __iter__(self) -> Iterator[Frame]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _open(self) -> cv2.VideoCapture:
        if self.name.isdecimal():
            return cv2.VideoCapture(int(self.name))
        patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, SILENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, SILENCE_MS]
        return cv2.VideoCapture(self.name, cv2.CAP_FFMPEG, patience)

    def _run(self) -> None:
        last = None
        try:
            self._read_all()
        except Exception as error:  # whatever it is, the thread that iterates must know
            last = error
        finally:
            self._capture.release()
            self._put(last)

    def _read_all(self) -> None:
        start = time.monotonic()
        while not self._stop.is_set():
            with self.stopwatch("read"):
                good, image = self._capture.read()
                if good:
                    pixels = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            if good and self.live:
                self._put_newest(Frame(time.monotonic() - start, pixels))
            elif good:
                self._put(Frame(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, pixels))
            elif self.live:
                self._open_again()
            else:
                return

    def _open_again(self) -> None:
        lost, wait = time.monotonic(), FIRST_WAIT
        say(f"{self.shown} is lost; trying again for {self.patience:g} s")
        while not self._stop.wait(wait):
            self._capture.release()
            self._capture = self._open()
            if self._capture.isOpened() and self._capture.grab():
                say(f"{self.shown} is back after {time.monotonic() - lost:.1f} s")
                return
            left = self.patience - (time.monotonic() - lost)
            if left <= 0:
                raise UserError(f"{self.shown} did not come back within {self.patience:g} s; given up")
            wait = min(2 * wait, LONGEST_WAIT, left)

    def _put(self, item: Frame | Exception | None) -> None:
        placed = False
        while not placed and not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.2)
                placed = True

    def _put_newest(self, frame: Frame) -> None:
        with contextlib.suppress(queue.Empty):
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put(frame)


def say(line: str) -> None:
    """One line for the user, beside the results."""
    print(f"facemask watch: {line}", file=sys.stderr, flush=True)


class Writer:
    """Writes frames to a video file.

    Of a live source frames come as they may, so each is written as often as its time asks for: the file
    plays as fast as things happened.

    Raises
    ------
    UserError
        If the file cannot be written.
    """

    def __init__(self, path: Path, source: Source):
        if path.suffix.lower() not in CODECS:
            raise UserError(f"--output: {path.name} is none of {' '.join(CODECS)}")
        if path.exists() and path.resolve() == Path(source.name).resolve():
            raise UserError(f"--output: {path} is the video itself; name another file")
        self.path, self.source = path, source
        self._writer, self._shape, self._written = None, None, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("wb").close()

    def write(self, frame: Frame) -> None:
        """Add a frame; one of another size than the first is scaled to that."""
        if self._writer is None:
            height, width = frame.pixels.shape[:2]
            self._shape = width, height
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self.path), codec, self.source.rate, self._shape)
            if not self._writer.isOpened():
                raise UserError(f"--output: {self.path} cannot be written as a video of {width} x {height} pixels")
        image = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
        if image.shape[1::-1] != self._shape:
            image = cv2.resize(image, self._shape, interpolation=cv2.INTER_AREA)
        due = int(frame.seconds * self.source.rate) + 1 if self.source.live else self._written + 1
        while self._written < due:
            self._writer.write(image)
            self._written += 1

    def close(self) -> None:
        """Finish the file, so that it can be played."""
        if self._writer is not None:
            self._writer.release()
