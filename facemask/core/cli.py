"""How a stage is called: paths on the command line, one line for what a user can mend."""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

from facemask.core.errors import UserError


def run(main: Callable[..., None]) -> None:
    """Call a module's main with the words of the command line, in order, each of its parameter's type.

    A `UserError`, an `OSError` and Ctrl-C are printed as one line and end the process with
    status 1; with FACEMASK_DEBUG=1 a traceback is shown instead.
    """
    parameters = inspect.signature(main).parameters
    words = sys.argv[1:]
    stage = Path(sys.argv[0]).stem
    if len(words) != len(parameters):
        room = Path(sys.argv[0]).parent.name
        sys.exit(f"usage: python -m {room}.{stage} {' '.join(name.upper() for name in parameters)}")
    try:
        main(*(one.annotation(word) for one, word in zip(parameters.values(), words, strict=True)))
    except (UserError, OSError, KeyboardInterrupt) as error:
        if os.environ.get("FACEMASK_DEBUG") == "1":
            raise
        sys.exit(f"{stage}: {reason(error)}")


def reason(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        # Of a copy that fails, the second name is where it was to go.
        name = error.filename2 or error.filename
        message = f"{error.strerror} ({name})" if name else error.strerror
    return " ".join(message.split())
