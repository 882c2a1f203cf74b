"""Where the parts of a stage's work are done: in this process, or on the machines of a Ray cluster.

`FACEMASK_ENGINE` is `local`, the default, or `ray`; with `RAY_ADDRESS` that is a running cluster. It is a variable of
the environment and no parameter, because it changes nothing in the outputs: no stage may be out of date for it.
"""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facemask.core.errors import UserError
from facemask.core.terminal import progress, silenced

ENGINES = ("local", "ray")
ATTEMPTS = 3
PATIENCE = 10  # seconds
AHEAD = 2  # tasks a core that are submitted: their inputs and results take memory
PACKAGE = Path(__file__).resolve().parent.parent


class Task(NamedTuple):
    """One part of the work: a call of a function with these arguments and a folder for its files.

    Attributes
    ----------
    name : str
        For messages.
    arguments : callable
        Gives the arguments, when it is the task's turn.
    here : bool
        Whether it needs files of this machine.
    """

    name: str
    arguments: Callable[[], tuple]
    here: bool


# Takes a task's arguments and a folder; writes files there and returns the sha256 of each, by its path in the folder.
Work = Callable[..., dict[str, str]]
Done = tuple[Task, dict[str, str]]


def chosen() -> str:
    """The engine that the environment names.

    Raises
    ------
    UserError
        If there is none of that name.
    """
    name = os.environ.get("FACEMASK_ENGINE", "local")
    if name not in ENGINES:
        raise UserError(f"FACEMASK_ENGINE is {name}; give one of {', '.join(ENGINES)}")
    return name


def run(work: Work, tasks: list[Task], folder: Path, title: str) -> Iterator[Done]:
    """Do all tasks; of each that is done, in any order, yield the sha256 of its files, which are then in the folder.

    Raises
    ------
    UserError
        If a task fails, on a cluster three times; the message names it.
    """
    local = chosen() == "local"
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        if local or task.here:
            yield task, work(*task.arguments(), folder)
    if away := [task for task in tasks if not (local or task.here)]:
        yield from on_cluster(work, away, folder, title)


def on_cluster(work: Work, tasks: list[Task], folder: Path, title: str) -> Iterator[Done]:
    """Do tasks on a Ray cluster, one a core; files come back through Ray, so that no folder need be shared."""
    try:
        import ray
    except ImportError:
        raise UserError("FACEMASK_ENGINE is ray, which is not installed; run: pip install '.[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "local")  # not "auto", which finds clusters that are no more
    if address != "local":
        reach(address)
    # The code is sent, the libraries are not: every node has the same environment.
    environment = {"py_modules": [str(PACKAGE)], "env_vars": {"LOKY_MAX_CPU_COUNT": "1"}}
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        with silenced():
            ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # of many kinds
        raise UserError(f"Ray cannot be used at {address}: {error}") from error
    try:
        submit = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=True)(carried).remote
        shared, waiting = ray.put(work), list(reversed(tasks))
        running: dict[Any, Task] = {}
        with progress(title, len(tasks), "shards") as bar:
            while waiting or running:
                while waiting and len(running) < AHEAD * ray.cluster_resources().get("CPU", 1):
                    task = waiting.pop()
                    running[submit(shared, *task.arguments())] = task
                [done], _ = ray.wait(list(running))
                task = running.pop(done)
                try:
                    contents, digests = ray.get(done)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", error)
                    raise UserError(f"{task.name} failed {ATTEMPTS} times: {cause}") from error
                for name, content in contents.items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    content.tofile(folder / name)
                yield task, digests
                bar.update()
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Connect to a cluster's address, for Ray would wait for minutes.

    Raises
    ------
    UserError
        If nothing answers there.
    """
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(f"RAY_ADDRESS: no Ray cluster answers at {address} (HOST:PORT): {error}") from None


def carried(work: Work, *arguments: object) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Do a task on whatever machine this is; return its files' content, by path in the folder, and their sha256."""
    with tempfile.TemporaryDirectory() as folder:
        digests = work(*arguments, Path(folder))
        return {name: np.fromfile(Path(folder, name), np.uint8) for name in digests}, digests
