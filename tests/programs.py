"""Programs in Python, each in a process of its own that starts at once.

`python -m stages.fetch` spends a second on imports. Here a process that has done them is forked for every program,
which then runs as `python -m` would run it.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

LIBRARIES = ["joblib", "matplotlib.figure", "mlflow", "pandas", "PIL.Image", "pydantic", "requests", "sklearn.metrics"]
READ_AT_START = ("PYTHON", "LC_", "LANG")
STREAMS = {1: "stdout", 2: "stderr"}
PATIENCE = 300  # seconds

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(LIBRARIES)


def run(module: str, *args: object, folder: Path = Path(), **environment: str) -> subprocess.CompletedProcess:
    """Run `python -m MODULE ARGS` in a folder; return its status and what it printed."""
    root = Path(__file__).resolve().parent.parent
    variables = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    words = [module, *map(str, args)]
    if any(name.startswith(READ_AT_START) for name in environment):
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as outputs:
        process = context.Process(target=become, args=(words, folder.absolute(), variables, Path(outputs)))
        process.start()
        process.join(PATIENCE)
        process.kill()
        process.join()
        printed = {name: Path(outputs, name).read_text() for name in STREAMS.values()}
        return subprocess.CompletedProcess(words, process.exitcode, **printed)


def become(words: list[str], folder: Path, variables: dict[str, str], outputs: Path) -> None:
    """Run a program in this process, and end it as Python does: threads, then what is registered."""
    for number, name in STREAMS.items():
        os.dup2(os.open(outputs / name, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
