"""Video input from files, cameras and streams, and video output to files."""

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facemask.core.errors import UserError
from facemask.inference.stopwatch import Stopwatch

SILENCE_MS = 5000
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
DEFAULT_RATE = 25.0
WHOLE = 0.9  # of the frames that a file says it has, which is approximate
CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


def is_camera(name: str) -> bool:
    """Whether the name of a source is the number of a camera."""
    return re.fullmatch("[0-9]{1,4}", name) is not None


def is_file(name: str) -> bool:
    """Whether the name of a source is a file; False for names that the system does not accept."""
    return os.path.isfile(name)  # noqa: PTH113 (for a name that is too long, Path raises an error that repeats it)


def shown(name: str) -> str:
    """The name of a source without secrets: of an address only the scheme and the host.

    A password can be before the host, in the path and in the query, and contain any delimiter. What follows the scheme
    is left out too if it may not be a host.
    """
    found = re.fullmatch(r"([A-Za-z][\w+.-]*):(//)?([^/?#]*)(.*)", name, re.DOTALL)
    if not found or is_file(name):
        return name
    scheme, slashes, authority, rest = found.groups()
    host = authority.rpartition("@")[2]
    is_host = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?", host)
    return f"{scheme}://{host}" if slashes and is_host and "@" not in rest else f"{scheme}:..."


class Frame(NamedTuple):
    """A frame: uint8 RGB pixels (height, width, 3), and seconds since the start."""

    seconds: float
    pixels: np.ndarray


class Source:
    """Reads frames in its own thread: all of a file, the newest of a live source.

    A lost live source is reopened, with exponential backoff up to `LONGEST_WAIT` seconds.

    Parameters
    ----------
    name : str
        A video file, the number of a camera, or an address (rtsp://, http://, ...).
    patience : float
        Seconds until a lost live source is given up.
    say : callable
        Called with a message if a live source is lost or back.

    Attributes
    ----------
    shown : str
        The name without secrets.
    live : bool
    rate : float
        Frames a second, as the source reports.
    frames : int or None
        Approximate number of frames of a file.
    dropped : int
        Number of frames of a live source that were replaced by a newer one.

    Raises
    ------
    UserError
        On opening, if there is no such source; on iterating, if it stays lost.
    """

    def __init__(self, name: str, patience: float, stopwatch: Stopwatch, say: Callable[[str], None]):
        self.name, self.patience, self.stopwatch, self.say = name, patience, stopwatch, say
        self.shown = shown(name)
        if not is_camera(name) and "://" not in name and not is_file(name):
            raise UserError(
                f"there is no file {self.shown}; a camera is a number (0 to 9999), a stream an address (rtsp://...)"
            )
        self._capture = self._open()
        if not self._capture.isOpened():
            kind = "camera" if is_camera(name) else "stream" if "://" in name else "video"
            raise UserError(f"{self.shown} cannot be opened as a {kind}")
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.live = is_camera(name) or ("://" in name and count <= 0)
        self.frames = count if count > 0 else None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 1 <= rate <= 240 else DEFAULT_RATE
        self.dropped = 0
        self._queue: queue.Queue[Frame | Exception | None] = queue.Queue(maxsize=1 if self.live else 4)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * SILENCE_MS / 1000)

    def __iter__(self) -> Iterator[Frame]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def _open(self) -> cv2.VideoCapture:
        if is_camera(self.name):
            return cv2.VideoCapture(int(self.name))
        patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, SILENCE_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, SILENCE_MS]
        return cv2.VideoCapture(os.fsencode(self.name), cv2.CAP_FFMPEG, patience)

    def _run(self) -> None:
        last = None
        try:
            self._read_all()
        except Exception as error:  # raised again in the thread that iterates
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
        self.say(f"{self.shown} is lost; trying again for {self.patience:g} s")
        while not self._stop.wait(wait):
            self._capture.release()
            self._capture = self._open()
            if self._capture.isOpened() and self._capture.grab():
                self.say(f"{self.shown} is back after {time.monotonic() - lost:.1f} s")
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


class Writer:
    """Writes frames to a video file, opened with the first frame.

    Frames of a live source arrive irregularly; each is repeated as its time requires, so the file plays at real speed.

    Raises
    ------
    UserError
        If the file cannot be written; on closing, if it was not written completely.
    """

    def __init__(self, path: Path, source: Source):
        if path.suffix.lower() not in CODECS:
            raise UserError(f"{path.name} is none of {' '.join(CODECS)}")
        self.path, self.source = path, source
        self._writer: cv2.VideoWriter | None = None
        self._shape, self._written = (0, 0), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()

    def write(self, frame: Frame) -> None:
        """Write a frame, resized to the size of the first."""
        if self._writer is None:
            height, width = frame.pixels.shape[:2]
            self._shape = width, height
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(os.fsencode(self.path), codec, self.source.rate, self._shape)
            if not self._writer.isOpened():
                raise UserError(f"{self.path} cannot be written as a video of {width} x {height} pixels")
        image = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
        if image.shape[1::-1] != self._shape:
            image = cv2.resize(image, self._shape, interpolation=cv2.INTER_AREA)
        due = int(frame.seconds * self.source.rate) + 1 if self.source.live else self._written + 1
        while self._written < due:
            self._writer.write(image)
            self._written += 1

    def close(self) -> None:
        """Finish the file."""
        if self._writer is None:
            return
        self._writer.release()
        written = cv2.VideoCapture(os.fsencode(self.path), cv2.CAP_FFMPEG)  # the writer reports no errors
        try:
            whole = written.isOpened() and written.get(cv2.CAP_PROP_FRAME_COUNT) >= WHOLE * self._written
            if not (whole and written.set(cv2.CAP_PROP_POS_FRAMES, self._written - 1) and written.read()[0]):
                raise UserError(f"{self.path} could not be written completely; is the disk full?")
        finally:
            written.release()
