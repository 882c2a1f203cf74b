"""The console script `facemask`: one module a command, each with `DETECTOR_SIZES`, `arguments` and `main`."""

import argparse
import importlib
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
    "serve": "open a local page that labels dropped photos and the webcam",
}


def main() -> None:
    """Run a command; what a user can mend is one line and exit status 1, or with FACEMASK_DEBUG=1 a traceback."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")  # what matters of it is said in one line
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name is bytes, not always text
    parser = argparse.ArgumentParser(prog="facemask", description="Tells who wears a mask, with an exported model.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    named = sys.argv[1] if len(sys.argv) > 1 else None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == named:  # the others' imports cost time
            module = importlib.import_module(f"facemask.inference.commands.{name}")
            command.description = module.__doc__
            common_arguments(command, module.DETECTOR_SIZES)
            module.arguments(command)
            command.set_defaults(run=module.main)
    args = parser.parse_args()
    try:
        sys.exit(args.run(args))
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, OSError) as error:
        if os.environ.get("FACEMASK_DEBUG") == "1":
            raise
        sys.exit(f"facemask {named}: {cli.reason(error)}")


def common_arguments(parser: argparse.ArgumentParser, default_sizes: list[int]) -> None:
    """The model and the detector, which every command takes."""
    from facemask.inference.classifier import DEFAULT_FOLDER
    from facemask.inference.detectors import DETECTORS

    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", type=Path, default=DEFAULT_FOLDER, metavar="PATH",
        help="the folder that `dvc repro export` writes, or one .tflite file in it (%(default)s; of a folder, int8)",
    )  # fmt: skip
    model.add_argument(
        "--detector", choices=DETECTORS, default="yunet",
        help="what finds the faces; none: every photo is one face, cut out already; mask-detector: what `make detect` "
        "trains, which labels them too, without --model (%(default)s)",
    )  # fmt: skip
    model.add_argument(
        "--detector-weights", type=Path, metavar="FILE", help="the detector's weights; without, they are fetched once"
    )
    model.add_argument(
        "--detector-size", type=sizes, default=default_sizes, metavar="PIXELS",
        help="the longest side is scaled to this to find faces: less for faces that fill the picture, more for faces "
        f"far away; several, with commas, find both ({','.join(map(str, default_sizes))})",
    )  # fmt: skip
    model.add_argument(
        "--min-size", type=int, metavar="PIXELS",
        help="faces with a smaller side are found but not labelled (what decision.json says: the pipeline left them "
        "out too)",
    )  # fmt: skip


def sizes(word: str) -> list[int]:
    """Numbers of pixels from the command line, with commas between them."""
    numbers = [int(part) if part.isdecimal() else 0 for part in word.split(",")]
    if not all(32 <= number <= 4096 for number in numbers):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number of pixels from 32 to 4096, or several with commas")
    return numbers


def recognizer(args: argparse.Namespace, workers: int) -> "Recognizer":
    """What finds and labels faces as the command line says, for so many threads."""
    import cv2

    from facemask.inference.classifier import Classifier
    from facemask.inference.detectors import DETECTORS, LABELLING, WeightsError
    from facemask.inference.recognition import Recognizer

    cv2.setNumThreads(1)  # every thread has its own photo
    classifiers = [] if args.detector in LABELLING else [Classifier(args.model) for _ in range(workers)]
    try:
        detectors = [DETECTORS[args.detector](args.detector_weights, args.detector_size) for _ in range(workers)]
    except WeightsError as error:
        raise UserError(
            f"{error}; name the weights: --detector-weights FILE, or classify whole photos: --detector none"
        ) from None
    return Recognizer(list(zip(detectors, classifiers or detectors, strict=True)), args.min_size)
