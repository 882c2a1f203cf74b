"""Label the faces in a video file, a camera (its number) or a stream (its address).

Faces are tracked from frame to frame by the IoU of their boxes. Probabilities are exponential moving averages over the
frames (weight {weight} for the newest); a label changes after {change} frames in a row in which they give another one.
A face has appeared after {change} frames and has left when missing for {forget}.

Events go to standard output as JSON, one a line: seconds since the start (and for live sources the
time of day), appeared, changed or left, the number of the face, its label and probability, its box.

Every frame of a file is processed, and the newest of a live source: those that come too fast are dropped.
A lost live source is reopened until --patience runs out. Ctrl-C leaves complete files.

exit status:
  0  end of the video, Ctrl-C, or q in the window
  1  the source or an output cannot be used, or the source is lost; the reason is reported in one line
  2  wrong command line
  3  the video ended long before its end
"""

import argparse
import collections
import datetime
import itertools
import json
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TextIO

import cv2
from tqdm import tqdm

from facemask.core.errors import UserError
from facemask.core.parallel import cores
from facemask.inference.commands import recognition_arguments, recognizer
from facemask.inference.drawing import draw
from facemask.inference.recognition import LabelledFace
from facemask.inference.tracker import FRAMES_TO_CHANGE, FRAMES_TO_FORGET, NEW_WEIGHT, Track, Tracker
from facemask.inference.video import WHOLE, Frame, Source, Writer, is_file

__doc__ = __doc__.format(weight=NEW_WEIGHT, change=FRAMES_TO_CHANGE, forget=FRAMES_TO_FORGET)
TITLE = "facemask (q quits)"
DETECTOR_SIZES = [320]  # one, for speed
PHASES = ("read", "detect", "classify", "draw and write")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    recognition_arguments(parser, DETECTOR_SIZES)
    parser.add_argument("source", help="a video file, the number of a camera, or an address (rtsp://, http://)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the annotated video: .mp4, .mkv or .avi")
    parser.add_argument("--window", action="store_true", help="show the annotated video")
    parser.add_argument("--events", type=Path, metavar="FILE", help="write events to this file, not to standard output")
    parser.add_argument(
        "--patience", type=float, default=60, metavar="SECONDS",
        help="give up a lost live source after this time (%(default)s)",
    )  # fmt: skip


class Watch:
    """Processes every frame with labelled faces: track, log, draw, write, show."""

    def __init__(self, tracker: Tracker, events: TextIO, writer: Writer | None, window: bool, live: bool):
        self.tracker, self.events, self.writer, self.window, self.live = tracker, events, writer, window, live
        self.frames, self.seconds = 0, 0.0

    def take(self, frame: Frame, faces: list[LabelledFace]) -> None:
        """Process a frame; raise KeyboardInterrupt if q was pressed."""
        self.frames, self.seconds = self.frames + 1, frame.seconds
        visible, events = self.tracker.update(faces)
        self.log(events)
        if self.writer or self.window:
            draw(frame.pixels, visible, self.tracker.classes)
        if self.writer:
            self.writer.write(frame)
        if self.window:
            cv2.imshow(TITLE, cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
            if cv2.waitKey(1) == ord("q"):
                raise KeyboardInterrupt

    def log(self, events: list[tuple[str, Track]]) -> None:
        """Write events as JSON lines."""
        clock = {"clock": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")} if self.live else {}
        for event, track in events:
            content = {"time": round(self.seconds, 3), **clock, "event": event, "track": track.number}
            probability = None if track.probability is None else round(track.probability, 4)
            content |= {"label": track.label, "probability": probability, "box": list(track.box)}
            print(json.dumps(content), file=self.events, flush=True)


def main(args: argparse.Namespace) -> int:
    """Watch until the source ends; return the exit status."""
    if args.window:
        open_window()
    check_outputs(args)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    recognize = recognizer(args, workers := cores())
    classifier, stopwatch = recognize.classifier, recognize.stopwatch
    source = Source(args.source, args.patience, stopwatch, say)
    start, cpu, status = time.perf_counter(), time.process_time(), 0
    with ExitStack() as stack:
        frames = iter(stack.enter_context(source))
        first = next(frames, None)  # outputs are opened after it
        if first is None:
            raise UserError(f"{source.shown} has no frame that can be read")
        writer = stack.enter_context(closing(Writer(args.output, source))) if args.output else None
        events = stack.enter_context(args.events.open("w", encoding="utf-8")) if args.events else sys.stdout
        watch = Watch(Tracker(classifier.classes, classifier.decide), events, writer, args.window, source.live)
        progress = stack.enter_context(tqdm(total=source.frames, unit="frame", disable=None))
        try:
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            waiting: collections.deque[tuple[Frame, Future[list[LabelledFace]]]] = collections.deque()

            def finish() -> None:
                frame, faces = waiting.popleft()
                found = faces.result()
                with stopwatch("draw and write"):
                    watch.take(frame, found)
                progress.update()

            for frame in itertools.chain([first], frames):
                waiting.append((frame, pool.submit(recognize, frame.pixels)))
                while waiting and (len(waiting) > workers or waiting[0][1].done()):
                    finish()
            while waiting:
                finish()
            if source.frames and watch.frames < WHOLE * source.frames:
                say(f"{source.shown} ended after {watch.frames} of about {source.frames} frames; it may be damaged")
                status = 3
        except KeyboardInterrupt:
            say("stopped by the user")
        finally:
            watch.log(watch.tracker.end())
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            progress.close()
            report(watch.frames, seconds, cpu, source, stopwatch.seconds)
    return status


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse outputs that would overwrite the source, by any of its names, or each other.

    Raises
    ------
    UserError
        Naming the option and the file.
    """
    video = Path(args.source.removeprefix("file://"))
    outputs = ("--output", args.output), ("--events", args.events)
    for option, path in outputs:
        if path and is_file(str(video)) and path.exists() and path.samefile(video):
            raise UserError(f"{option}: {path} is the video itself; name another file")
    named = [(option, path) for option, path in (*outputs, ("--log", args.log)) if path]
    for (first, one), (second, other) in itertools.combinations(named, 2):
        if one.resolve() == other.resolve():
            raise UserError(f"{first} and {second} are the same file {one}; name two")


def say(line: str) -> None:
    """Print a line on standard error."""
    print(f"facemask watch: {line}", file=sys.stderr, flush=True)


def open_window() -> None:
    """Open the window, before anything that takes time.

    Raises
    ------
    UserError
        If OpenCV was built without windows, or there is no display.
    """
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
    except cv2.error:
        raise UserError(
            "--window: this OpenCV opens no windows here; leave --window out and write a video with --output, or "
            "on a desktop: pip uninstall opencv-python-headless && pip install opencv-python"
        ) from None


def report(frames: int, seconds: float, cpu: float, source: Source, phases: dict[str, float]) -> None:
    """Print the number of frames, the frame rate, and the time of each phase."""
    dropped = f", {source.dropped} dropped" if source.live else ""
    say(f"{frames} frames in {seconds:.1f} s: {frames / seconds:.1f} frames/s{dropped}")
    times = ", ".join(f"{name} {1000 * phases[name] / max(1, frames):.1f}" for name in PHASES)
    say(f"ms a frame, in parallel threads: {times}; CPU time {1000 * cpu / max(1, frames):.1f}")
