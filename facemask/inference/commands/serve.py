"""Open a local page: drop photos on it, or turn on the webcam, and see who wears a mask.

The server answers this machine alone (127.0.0.1), and photos stay on it. Programs can ask it too:
curl --data-binary @photo.jpg http://127.0.0.1:8000/api/predict; /openapi.json describes it.
Ctrl-C ends it.

exit status:
  0  ended by the user
  1  it could not start; one line says why
  2  the command line is wrong
"""

import argparse
import contextlib
import socket
import sys
import threading
import webbrowser
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.parallel import cores
from facemask.inference.classifier import DEFAULT_FOLDER
from facemask.inference.commands import recognizer

CARD = Path("metrics/model_card.md")
DETECTOR_SIZES = [320, 640]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (%(default)s)")
    parser.add_argument(
        "--card", type=Path, metavar="FILE", help=f"the model card to show (with the default model, {CARD})"
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser, only say the address")


def main(args: argparse.Namespace) -> int:
    """Serve until interrupted; the exit status."""
    try:
        import uvicorn

        from facemask.inference.server import MAX_CONNECTIONS, Connection, application
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install 'facemask[serve]'") from None
    if args.card and not args.card.is_file():
        raise UserError(f"--card: there is no file {args.card}")
    listener = listen(args.port)
    recognize = recognizer(args, workers := cores())
    own = CARD if args.model == DEFAULT_FOLDER and CARD.is_file() else None
    config = uvicorn.Config(
        application(recognize, workers, args.card or own), http=Connection, ws="none", log_level="error",
        limit_concurrency=MAX_CONNECTIONS,
    )  # fmt: skip
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    print(f"facemask serve: {address} (Ctrl-C ends)", file=sys.stderr, flush=True)
    if not args.no_browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def listen(port: int) -> socket.socket:
    """A socket on this machine's loopback.

    Raises
    ------
    UserError
        If the port is taken or not allowed.
    """
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be used ({error}); name another with --port, or 0 for any") from None
