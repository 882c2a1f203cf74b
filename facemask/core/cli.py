"""Command line of a stage: `name=value` arguments, and one line for an error that a user can fix."""

import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from facemask.core.errors import UserError, redacted


def run(main: Callable[..., str | None]) -> None:
    """Call a module's main with the `name=value` arguments of the command line, each of its parameter's type.

    A parameter with a default may be left out. What main returns, a line about its outputs, is printed with the seconds
    that it took.

    A `UserError`, an `OSError` and Ctrl-C are printed as one line and end the process with status 1; with
    FACEMASK_DEBUG=1, and for any other exception, a traceback is shown instead. Neither contains the secrets of a URL.
    """
    parameters = inspect.signature(main).parameters
    file = Path(sys.argv[0])
    stage = file.parent.name if file.stem == "__main__" else file.stem
    module = getattr(sys.modules["__main__"].__spec__, "name", stage).removesuffix(".__main__")
    given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
    required = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty}
    if not required <= given.keys() <= parameters.keys() or len(given) != len(sys.argv) - 1 or not all(given.values()):
        usage = (f"{name}=..." if name in required else f"[{name}=...]" for name in parameters)
        sys.exit(f"usage: python -m {module} {' '.join(usage)}")
    start = time.perf_counter()
    try:
        summary = main(**{name: parameters[name].annotation(value) for name, value in given.items()})
    except (Exception, KeyboardInterrupt) as error:
        expected = isinstance(error, UserError | OSError | KeyboardInterrupt)
        if expected and os.environ.get("FACEMASK_DEBUG") != "1":
            sys.exit(f"{stage}: {reason(error)}")
        sys.exit(redacted(traceback.format_exc().rstrip()))
    if summary:
        print(f"{stage}: {summary} ({time.perf_counter() - start:.1f} s)", flush=True)


def reason(error: BaseException) -> str:
    """The message of an error in one line, without secrets."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        # Where copying or renaming fails, the second name is the destination.
        name = error.filename2 or error.filename
        message = f"{error.strerror} ({name})" if name else error.strerror
    return redacted(" ".join(message.split()))
