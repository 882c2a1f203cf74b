"""The console script `facemask`: a module a command, each with `arguments` and `main`."""

import argparse
import importlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.core import cli
from facemask.core.errors import UserError

if TYPE_CHECKING:
    from facemask.inference.recognition import Recognizer

COMMANDS = {
    "predict": "label the faces in photos, folders and zips",
    "watch": "label the faces in a video, a camera or a stream",
    "serve": "serve a local page that labels photos and the webcam",
    "drift": "compare a log of labelled faces with the faces that the model was tested on",
}


def main() -> None:
    """Run a command; an error that a user can fix is one line and status 1, or with FACEMASK_DEBUG=1 a traceback."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")  # errors are reported in one line
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if isinstance(sys.stdout, io.TextIOWrapper):  # not where a caller captures it
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may not be valid text
    parser = argparse.ArgumentParser(prog="facemask", description="Tell who wears a mask, with an exported model.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    named = sys.argv[1] if len(sys.argv) > 1 else None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == named:  # importing the others takes time
            module = importlib.import_module(f"facemask.inference.commands.{name}")
            command.description = module.__doc__
            module.arguments(command)
            command.set_defaults(run=module.main)
    args = parser.parse_args()
    try:
        sys.exit(args.run(args))
    except BrokenPipeError:  # the reader of a pipe, such as head, closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, OSError) as error:
        if os.environ.get("FACEMASK_DEBUG") == "1":
            raise
        sys.exit(f"facemask {named}: {cli.reason(error)}")


def model_argument(parser: argparse._ActionsContainer) -> None:
    """The argument that names the model."""
    from facemask.inference.classifier import DEFAULT_FOLDER

    parser.add_argument(
        "--model", type=Path, metavar="PATH",
        help="the folder that `dvc repro export` writes, or one .tflite file in it; of a folder, int8 "
        f"({DEFAULT_FOLDER}, or if there is none, the released model, which is downloaded once)",
    )  # fmt: skip


def recognition_arguments(parser: argparse.ArgumentParser, default_sizes: list[int]) -> None:
    """Arguments of the commands that label faces: model, detector and log."""
    from facemask.inference.detectors import DETECTORS

    model = parser.add_argument_group("model")
    model_argument(model)
    model.add_argument(
        "--detector", choices=DETECTORS, default="yunet",
        help="the face detector; none: every photo is a cropped face; mask-detector: that of `make detect`, "
        "which labels faces too and needs no --model (%(default)s)",
    )  # fmt: skip
    model.add_argument(
        "--detector-weights", type=Path, metavar="FILE", help="weights of the detector; by default downloaded once"
    )
    model.add_argument(
        "--detector-size", type=sizes, default=default_sizes, metavar="PIXELS",
        help="longest side of the photo for detection: small for faces that fill the photo, large for distant faces; "
        f"several, separated by commas, are merged ({','.join(map(str, default_sizes))})",
    )  # fmt: skip
    model.add_argument(
        "--min-size", type=int, metavar="PIXELS",
        help="faces with a smaller side are detected but not labelled (as in faces.json: the pipeline left them out)",
    )  # fmt: skip
    model.add_argument(
        "--log", type=Path, metavar="FILE",
        help="append a line a labelled face to this CSV, without its picture, for `facemask drift`",
    )  # fmt: skip


def sizes(text: str) -> list[int]:
    """Parse sizes in pixels from the command line, separated by commas."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(32 <= number <= 4096 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 32 to 4096, or several with commas")
    return numbers


def recognizer(args: argparse.Namespace, workers: int) -> "Recognizer":
    """The detectors and classifiers that the command line names, for a number of threads."""
    import cv2

    from facemask.inference.classifier import Classifier
    from facemask.inference.detectors import DETECTORS, LABELLING, WeightsError
    from facemask.inference.detectors.mask_detector import MaskDetector
    from facemask.inference.log import Log
    from facemask.inference.recognition import Recognizer
    from facemask.inference.release import located

    if args.log and args.detector in LABELLING:
        raise UserError(f"--log is of what a classifier sees, and --detector {args.detector} needs none; leave one out")
    cv2.setNumThreads(1)  # photos are processed in parallel
    classifiers: list[Classifier | MaskDetector] = []
    if args.detector not in LABELLING:
        model = located(args.model)
        classifiers += [Classifier(model) for _ in range(workers)]
    try:
        detectors = [DETECTORS[args.detector](args.detector_weights, args.detector_size) for _ in range(workers)]
    except WeightsError as error:
        raise UserError(
            f"{error}; name the weights: --detector-weights FILE, or classify whole photos: --detector none"
        ) from None
    classifiers += [detector for detector in detectors if isinstance(detector, MaskDetector)]
    pairs = list(zip(detectors, classifiers, strict=True))
    return Recognizer(pairs, args.min_size, Log(args.log) if args.log else None)
