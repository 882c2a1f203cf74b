"""Serve a local page that labels dropped photos and the webcam, and an HTTP API.

The server listens on 127.0.0.1 only, unless --host names more, and photos stay on this machine. For programs:
curl --data-binary @photo.jpg http://127.0.0.1:8000/api/predict; /openapi.json describes the API.
Ctrl-C stops it.

exit status:
  0  stopped by the user
  1  it could not start; the reason is reported in one line
  2  wrong command line
"""

import argparse
import contextlib
import ipaddress
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.parallel import cores
from facemask.inference.classifier import DEFAULT_FOLDER
from facemask.inference.commands import recognition_arguments, recognizer
from facemask.inference.recognition import LabelledFace

CARD = Path("metrics/model_card.md")
DETECTOR_SIZES = [320, 640]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    recognition_arguments(parser, DETECTOR_SIZES)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="the address to listen on: 0.0.0.0 in a container, which no one reaches until its port is published; "
        "requests to other names than 127.0.0.1 and localhost are refused (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="0: any free port (%(default)s)")
    parser.add_argument(
        "--card", type=Path, metavar="FILE",
        help=f"the model card to show ({CARD.name} beside the model; for {DEFAULT_FOLDER}, {CARD})",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="print the address without opening a browser")


def main(args: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit status."""
    try:
        import uvicorn

        from facemask.inference.page import card_text
        from facemask.inference.server import MAX_CONNECTIONS, Connection, application
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install '.[serve]'") from None
    if args.card and not args.card.is_file():
        raise UserError(f"--card: there is no file {args.card}")
    listener = listen(args.host, args.port)
    recognize = recognizer(args, workers := cores())
    folder = recognize.classifier.folder
    own = CARD if folder == DEFAULT_FOLDER else folder / CARD.name
    card = args.card or (own if own.is_file() else None)
    shown = card_text(card) if card else None  # read once: the pipeline may write it anew
    if recognize.log:
        recognize.log = forgiving(recognize.log)
    bound, port = listener.getsockname()[:2]
    host = "127.0.0.1" if ipaddress.ip_address(bound).is_unspecified else bound
    config = uvicorn.Config(
        application(recognize, workers, shown, host), http=Connection, ws="none", log_level="error",
        limit_concurrency=MAX_CONNECTIONS,
    )  # fmt: skip
    address = f"http://{host}:{port}/"
    print(f"facemask serve: {address} (Ctrl-C stops it)", file=sys.stderr, flush=True)
    if not args.no_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def forgiving(log: Callable[[list[LabelledFace]], None]) -> Callable[[list[LabelledFace]], None]:
    """A log that a full disk does not keep from serving: the first error is reported, and lines are missing."""
    failed: list[OSError] = []

    def write(faces: list[LabelledFace]) -> None:
        try:
            log(faces)
        except OSError as error:
            if not failed:
                print(f"facemask serve: --log cannot be written ({error.strerror}); faces are missing", file=sys.stderr)
            failed.append(error)

    return write


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address of this machine.

    Raises
    ------
    UserError
        If the address is none of this machine, or the port is in use or not allowed.
    """
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"port {port} of {host} cannot be used ({error}); name others with --port (0: any) and --host"
        ) from None
