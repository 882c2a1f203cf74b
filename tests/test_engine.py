"""Engines: parts done here or on a Ray cluster have the same bytes, and a failure is one line."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from facemask.core import arrays, engine
from facemask.core.engine import Task
from facemask.core.errors import UserError


def draw(name: str, rows: int, folder: Path) -> dict[str, str]:
    """Write an array that depends on its name and rows."""
    blocks = [np.random.default_rng([rows, *name.encode()]).random((rows, 5))]
    return {f"{name}/x.npy": arrays.write(folder / name / "x.npy", (rows, 5), np.float32, blocks)}


def die_once(name: str, rows: int, folder: Path) -> dict[str, str]:
    """Kill this process, as a machine that fails would, but do not do so again."""
    marker = Path(os.environ["MARKERS"], name)
    if name == "b" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(name, rows, folder)


def fail(name: str, rows: int, folder: Path) -> dict[str, str]:
    """Fail at one part, and count the attempts."""
    if name == "b":
        with Path(os.environ["MARKERS"], "attempts").open("a") as attempts:
            attempts.write("x")
        raise ValueError("no such row")
    return draw(name, rows, folder)


def run(work, folder: str, here: bool = False) -> dict[str, bytes]:
    """Do parts of several sizes, an empty one too; return their files."""
    sizes = {"a": 7, "b": 1, "c": 0, "d": 300_000}
    tasks = [Task(name, lambda name=name: (name, sizes[name]), here) for name in sizes]
    done = {task.name: digests for task, digests in engine.run(work, tasks, Path(folder), "test")}
    assert done.keys() == sizes.keys()
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in Path(folder).rglob("*.npy")} | done


def test_an_engine_of_another_name_is_one_line(monkeypatch):
    monkeypatch.setenv("FACEMASK_ENGINE", "spark")
    with pytest.raises(UserError, match=r"^FACEMASK_ENGINE is spark; give one of local, ray$"):
        run(draw, "out")


def test_without_ray_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("FACEMASK_ENGINE", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"not installed; run: pip install '\.\[ray\]'$"):
        run(draw, "out")


def test_what_needs_files_of_this_machine_is_done_here(monkeypatch):
    monkeypatch.setenv("FACEMASK_ENGINE", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert len(run(draw, "out", here=True)) == 8


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "head-node"])
def test_a_cluster_that_does_not_answer_is_one_line(address, monkeypatch):
    from conftest import free_port  # which the workers, that import this module, do not find

    pytest.importorskip("ray")
    monkeypatch.setenv("FACEMASK_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address.format(free_port()))
    with pytest.raises(UserError, match=r"^RAY_ADDRESS: no Ray cluster answers at .+ \(HOST:PORT\): "):
        run(draw, "out")


@pytest.fixture
def on_ray(monkeypatch, tmp_path) -> None:
    """A Ray cluster of this machine, whose processes find this module."""
    pytest.importorskip("ray")
    monkeypatch.setenv("FACEMASK_ENGINE", "ray")
    monkeypatch.setenv("MARKERS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
def test_ray_gives_the_bytes_of_the_local_engine_also_if_a_worker_is_killed(on_ray, monkeypatch, tmp_path):
    distributed = run(die_once, "ray")
    assert (tmp_path / "b").exists(), "no worker was killed"
    monkeypatch.setenv("FACEMASK_ENGINE", "local")
    assert distributed == run(draw, "local")


@pytest.mark.slow
def test_a_part_that_fails_three_times_is_one_line_with_its_name(on_ray, tmp_path):
    with pytest.raises(UserError, match=r"^b failed 3 times: no such row$"):
        run(fail, "ray")
    assert (tmp_path / "attempts").read_text() == "xxx"
