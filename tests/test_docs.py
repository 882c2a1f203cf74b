"""The commands in README and docs/ work as they stand there."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, answers, draw_photos, duplicate, shell, wait_until

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Commands that stay, and the address at which they answer.
SERVERS = {"make ui": "http://127.0.0.1:5000", "facemask serve": "http://127.0.0.1:8000"}
# Commands whose promise other tests hold with stand-ins: for containers, buckets, clusters, Kaggle, ImageNet weights,
# long trainings, browsers.
ELSEWHERE = {
    "docker ": "test_containers.py",
    "uv ": "test_containers.py",
    "make test": "test_workflows.py",
    "make slow": "test_workflows.py",
    ".venv/bin/pre-commit install": "test_fresh.py",
    ".venv/bin/python -m facemask.experiments.plots_page": "test_start.py",
    "make detect": "test_detection_pipeline.py",
    "dvc repro -P": "test_detection_pipeline.py",
    "dvc exp run -S detection/params.yaml:": "test_detection_pipeline.py",
    "facemask predict photo.jpg --detector mask-detector": "test_detectors.py",
    "python -m facemask.experiments.preset name=real-scenes pipeline=detection": "test_detection_scenes.py",
    "make preset NAME=archive": "test_real.py",
    "make preset NAME=kaggle": "test_kaggle.py",
    "dvc remote add --default storage s3://": "test_remotes.py",
    "dvc push": "test_remotes.py",
    "dvc artifacts get": "test_remotes.py",
    "dvc get": "test_remotes.py",
    "facemask predict --model model photo.jpg": "test_remotes.py",
    "facemask drift": "test_drift.py",  # needs more test faces than the tiny pipeline has
    "mlflow server": "test_remotes.py",
    "make page": "test_page.py",
    "make live": "test_live.py",
    "python -m http.server": "test_page.py",
    "pip install": "test_containers.py",
    "export RAY_AUTH_MODE": "test_engine.py",
    "ray start": "test_engine.py",
    "FACEMASK_ENGINE=ray": "test_engine.py",
    "dvc exp run -S training.engine=jax": "test_distributed.py",
    "JAX_COORDINATOR_ADDRESS=": "test_distributed.py",
}

PLACEHOLDER = r"\b(EXPERIMENT|NAME)\b(?!=)"


def commands(page: Path) -> list[str]:
    """The command lines of a page's shell blocks, without comments, long ones joined."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#\s.*", "", line).strip() for line in lines) if line]


def elsewhere(command: str) -> str | None:
    """The test file that runs a command, if it is not run here."""
    return next((file for start, file in ELSEWHERE.items() if command.startswith(start)), None)


def test_what_is_run_elsewhere_is_in_the_docs_and_its_test_is_there():
    all_commands = [command for page in PAGES for command in commands(page)]
    for start, file in ELSEWHERE.items():
        assert any(command.startswith(start) for command in all_commands), start
        assert (ROOT / "tests" / file).is_file()


@pytest.fixture
def ready(experimented, shared, tmp_path) -> tuple[Path, dict[str, str]]:
    """A repository with an experiment and the files that the docs name, and the environment of a user in it."""
    copy = duplicate(experimented, tmp_path / "copy")
    [photo] = draw_photos(tmp_path / "drawn", 1)
    shutil.copy(photo, copy / "photo.jpg")
    draw_photos(copy / "photos")
    shutil.copy(shared / "data/four_people_masking.mp4", copy / "film.mp4")
    # Links one by one: if make thought the environment stale, it would delete what a single link leads to.
    (copy / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "requirements.lock":
            (copy / ".venv" / entry.name).symlink_to(entry)
    shutil.copy(copy / "requirements.lock", copy / ".venv")
    cache = tmp_path / "cache/facemask"
    cache.mkdir(parents=True)
    shutil.copy(shared / "weights/face_detection_yunet_2023mar.onnx", cache)
    (copy / ".git/info/exclude").write_text("photo*\nfilm.mp4\nseen.mp4\n.venv\nfaces.jsonl\n")
    return copy, {"XDG_CACHE_HOME": str(cache.parent), "BROWSER": "true"}


def serve(command: str, address: str, folder: Path, variables: dict[str, str]) -> None:
    """Start a server, wait until it answers, and stop it as Ctrl-C does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        shlex.split(command), cwd=folder, env={**os.environ, "PATH": path, **variables},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(address), f"{command} answers at {address}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_work_in_its_order(page, ready):
    folder, variables = ready
    for command in commands(page):
        if elsewhere(command):
            continue
        if server := next((start for start in SERVERS if command.startswith(start)), None):
            serve(command, SERVERS[server], folder, variables)
            continue
        if re.search(PLACEHOLDER, command):
            name = shell("dvc", "exp", "list", "--name-only", cwd=folder).split()[0]
            command = re.sub(PLACEHOLDER, name, command)
        shell("bash", "-ec", command, cwd=folder, **variables)
        if command.startswith("dvc queue start"):
            wait_until(lambda: "Running" not in (seen := shell("dvc", "queue", "status", cwd=folder))
                       and "Queued" not in seen, "the queue is done", 600)  # fmt: skip
