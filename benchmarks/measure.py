"""Run a command as a user does, and measure time and memory of each stage."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil

INTERVAL = 0.1  # seconds
Result = TypeVar("Result")


class Cost(NamedTuple):
    """Seconds, and the peak memory of all processes together, in megabytes."""

    seconds: float
    megabytes: float


def memory(process: psutil.Process) -> float:
    """Megabytes of a process and its children, without file-backed pages, which the system can reclaim."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error, OSError):
            status = Path("/proc", str(one.pid), "status").read_text()
            total += sum(int(size) for size in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", status))
    return total / 1024


def called(function: Callable[..., Result], *arguments: Any) -> tuple[Result, Cost]:
    """Call a function; return its result and its cost, with the memory of the whole process."""
    process, done, peak = psutil.Process(), threading.Event(), [memory(psutil.Process())]

    def watch() -> None:
        while not done.wait(INTERVAL):
            peak.append(max(peak.pop(), memory(process)))

    watcher = threading.Thread(target=watch)
    start = time.perf_counter()
    watcher.start()
    try:
        result = function(*arguments)
    finally:
        done.set()
        watcher.join()
    return result, Cost(time.perf_counter() - start, peak[0])


def run(command: list[str], folder: Path) -> tuple[Cost, dict[str, Cost], str]:
    """Run a command; return its cost, that of each DVC stage it ran, and its output.

    Raises
    ------
    SystemExit
        With the end of its output, if it fails.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    marks, peaks, lines, stage = [("start", start)], {"start": 0.0}, [], "start"

    def watch() -> None:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                peaks[stage] = max(peaks.get(stage, 0), memory(root))
            time.sleep(INTERVAL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for line in process.stdout or ():
        lines.append(line)
        if found := re.match(r"Running stage '(\w+)'", line):
            stage = found[1]
            marks.append((stage, time.perf_counter()))
    watcher.join()
    end = time.perf_counter()
    output = "".join(lines)
    if process.wait():
        sys.exit(f"{' '.join(command)}\n{output[-4000:]}")
    ends = [moment for _, moment in marks[1:]] + [end]
    stages = {name: Cost(until - begun, peaks.get(name, 0)) for (name, begun), until in zip(marks, ends, strict=True)}
    del stages["start"]
    return Cost(end - start, max(peaks.values())), stages, output


def checkout(folder: Path, settings: str) -> None:
    """Clone the committed project into a folder and commit other parameters there."""
    source = Path(__file__).resolve().parent.parent
    subprocess.run(["git", "clone", "--quiet", source, folder], check=True)
    (folder / "params.yaml").write_text(settings)
    commit(folder)


def commit(folder: Path) -> None:
    """Commit everything, so that an experiment begins from here."""
    for command in (
        ["git", "add", "--all"],
        ["git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost", "commit", "--quiet", "-m", "run"],
    ):
        subprocess.run(command, cwd=folder, check=True)
