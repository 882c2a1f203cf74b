"""Fixtures and helpers: tiny parameters, stages called in a temporary folder, a tiny run of the whole pipeline."""

import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import programs
import psutil
import pytest
import requests
import yaml
from filelock import FileLock
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir
from PIL import Image

from facemask.core import params
from facemask.core.params import Section
from facemask.data.archive import write_archive
from facemask.data.sources import synthetic, synthetic_scenes
from facemask.experiments import preset
from stages.__main__ import Params

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SHARED = Path(os.environ.get("FACEMASK_SHARED", ROOT.parent / "shared"))

# The same examples every time, and no database; search for others with --hypothesis-profile=search.
EVERY_TIME = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("same", derandomize=True, **EVERY_TIME)
settings.register_profile("search", max_examples=1000, **EVERY_TIME)
settings.load_profile("same")
set_hypothesis_home_dir(ROOT / ".pytest_cache/hypothesis")

# A process in the background ignores SIGINT, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Byte code beside the modules, as on users' machines: DVC must not see it as a change.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What survey is called with in a folder of its own.
SURVEY = ("raw=raw", "corrections=corrections.csv", "examined=examined", "record=examined.json", "faces=faces.csv",
          "rejects=rejects.csv", "pairs=pairs.csv", "groups=groups.png")  # fmt: skip

TINY = {
    "datasets": {"synthetic": {"use": "split", "source": "synthetic", "images": 60, "size": 40}},
    "image_size": 32,
    "alpha": 0.35,
    "weights": "none",
    "train_from": "input",
    "augment.copies": 1,
    "epochs": 2,
    "batch_size": 16,
    "export.calibration_images": 8,
    "export.max_accuracy_drop": 0.9,
}


def changed(content: dict, changes: dict) -> dict:
    """A params tree with the values of dotted keys replaced."""
    for key, value in changes.items():
        *sections, leaf = key.split(".")
        branch = content
        for section in sections:
            branch = branch[section]
        branch[leaf] = value
    return content


def write_params(folder: Path, name: str | None = None, **changes) -> None:
    """Write the committed params.yaml with tiny values, a preset if named, and changes; `a__b` is `a.b`."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    tiny = TINY
    if name:
        preset.merge(content, json.loads(json.dumps(preset.load(name, ROOT / "presets"))))
        tiny = {key: value for key, value in TINY.items() if key != "datasets"}
    content = changed(content, deepcopy(tiny) | {key.replace("__", "."): value for key, value in changes.items()})
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    if not (folder / "corrections.csv").exists():
        shutil.copyfile(ROOT / "corrections.csv", folder / "corrections.csv")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker makes the reproduced repository, which takes a minute, while others run the tests that need none."""
    needing = [item for item in items if "reproduced" in item.fixturenames]
    others = [item for item in items if "reproduced" not in item.fixturenames]
    items[:] = [*needing[:1], *others, *needing[1:]]


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """Every test starts in an empty folder, without variables of DVC, MLflow, Kaggle or AWS, and leaves none."""
    forget_services()
    monkeypatch.chdir(tmp_path)
    yield
    forget_services()  # mlflow.set_tracking_uri sets one, which what a later fixture starts would obey


def forget_services() -> None:
    """Unset the variables by which services are configured."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "DVC_", "MLFLOW_", "KAGGLE_", "RAY_", "FACEMASK_TIMEOUT", "FACEMASK_ENGINE")):
            del os.environ[name]


def load_params(folder: Path = Path()) -> Section:
    """All parameters in a folder's params.yaml."""
    return params.validate(Params, params.read(folder / "params.yaml"))


def archived(path: str | Path, use: str = "split", **more) -> dict[str, dict]:
    """The value of `datasets` with one dataset: photos in a zip or folder."""
    return {"photos": {"use": use, "source": "archive", "path": str(path), **more}}


def arguments_of(name: str) -> list[str]:
    """The `file=path` arguments that dvc.yaml calls a stage with."""
    return PIPELINE[name]["cmd"].split()[3:]


def paths_of(name: str) -> dict[str, Path]:
    """The same, by the name of the file."""
    return {key: Path(path) for key, _, path in (argument.partition("=") for argument in arguments_of(name))}


def outputs_of(name: str) -> list[str]:
    """The files and folders that dvc.yaml says a stage writes."""
    declared = [out for kind in ("outs", "metrics", "plots") for out in PIPELINE[name].get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in declared]


def stage(name: str, *args, folder: Path = Path(), **environment) -> subprocess.CompletedProcess:
    """Call a stage as dvc.yaml does, in its own process, in a folder."""
    return programs.run(f"stages.{name}", *args, folder=folder, **environment)


def shell(*args, cwd: Path, **environment) -> str:
    """Run a command as a user would; return its output, or fail with it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryFile() as file:  # a pipe would stay open as long as a worker of DVC's queue has it
        done = subprocess.run(
            [str(arg) for arg in args],
            cwd=cwd,
            env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
        file.seek(0)
        output = file.read().decode()
    assert done.returncode == 0, f"{' '.join(map(str, args))}\n{output[-6000:]}"
    return output


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Wait until a condition holds and return its value; fail with a message after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)
    return value


def answers(address: str) -> bool:
    """Whether an HTTP server answers at an address with a status below 400."""
    with suppress(requests.RequestException):
        return requests.get(address, timeout=5).ok
    return False


def free_port() -> int:
    """A free port on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def tracking_server(args: list[str], port: int, folder: Path, **environment) -> Iterator[psutil.Process]:
    """MLflow's server, ready, until the end of the block."""
    output = folder / "server.log"
    with output.open("wb") as log:
        process = psutil.Popen(
            [sys.executable, "-m", *args], cwd=folder, env={**os.environ, **environment},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def healthy() -> bool:
        assert process.poll() is None, output.read_text()[-3000:]
        return answers(f"http://127.0.0.1:{port}/health")

    try:
        wait_until(healthy, "MLflow's server answers")
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def checkout(folder: Path, **changes) -> Path:
    """A Git and DVC repository with the project's current files, without outputs, and with tiny parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(
            ("metrics/", "dvc.lock", "docs/study.", "detection/dvc", "detection/metrics/")
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    write_params(folder, **changes)
    shell("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    shell("git", "config", "user.name", "test", cwd=folder)
    shell("git", "config", "user.email", "test@localhost", cwd=folder)
    commit(folder, "start")
    return folder


def commit(folder: Path, message: str) -> None:
    """Commit everything that Git does not ignore."""
    shell("git", "add", "--all", cwd=folder)
    shell("git", "commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)


def build_backbone(settings: Section) -> "keras.Model":  # noqa: F821
    """The network that parameters name."""
    from facemask import networks

    return networks.build_backbone(settings.model, settings.alpha, settings.weights, settings.image_size)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory) -> Path:
    """A file of random weights for a tiny network: a frozen trunk needs weights."""
    from facemask.core.files import prepare_tensorflow

    folder = tmp_path_factory.mktemp("pretrained")
    write_params(folder)
    settings = load_params(folder)
    prepare_tensorflow(settings.seed, settings.threads)
    build_backbone(settings).save_weights(folder / "tiny.weights.h5")
    return folder / "tiny.weights.h5"


ARTIFACT_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
HEAD_ONLY = {
    "weights": "tiny.weights.h5",
    "train_from": "head",
    "datasets": {
        **TINY["datasets"],
        "scenes": {"use": "test", "source": "archive", "path": "scenes.zip"},
    },
}


def marked(*faces: tuple[str, int, int, int, int]) -> bytes:
    """A PASCAL VOC annotation of (label, left, top, right, bottom)."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in faces
    )
    return f"<annotation><folder>x</folder>{objects}</annotation>".encode()


def draw_scenes(path: Path, count: int) -> None:
    """A zip of scenes with a masked and an unmasked face side by side, 50 pixels each, with their boxes."""
    members = []
    for number in range(count):
        scene = Image.new("RGB", (100, 50))
        for place, label in enumerate(("with_mask", "without_mask")):
            scene.paste(synthetic.draw_face(np.random.default_rng([5, number, place]), label, 50), (50 * place, 0))
        file = io.BytesIO()
        scene.save(file, "PNG")
        faces = ("with_mask", 5, 5, 45, 45), ("without_mask", 55, 5, 95, 45)
        members += [(f"images/{number}.png", file.getvalue()), (f"annotations/{number}.xml", marked(*faces))]
    write_archive(path, members)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one of the workers makes, and all of them use."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    complete = folder.with_suffix(".complete")
    with FileLock(f"{folder}.lock"):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, pretrained) -> Path:
    """A repository after `dvc repro` on a tiny demo, committed. Read only."""

    def make(folder: Path) -> None:
        shutil.copy(pretrained, folder)
        draw_scenes(folder / "scenes.zip", 20)
        checkout(folder, **HEAD_ONLY)
        folder.with_suffix(".log").write_text(shell("dvc", "repro", cwd=folder))
        commit(folder, "reproduced")

    return made_once(tmp_path_factory, "reproduced", make)


@pytest.fixture(scope="session")
def experimented(reproduced, tmp_path_factory) -> Path:
    """The reproduced repository with the experiment `try`, another learning rate, in its workspace. Read only."""

    def make(folder: Path) -> None:
        folder.rmdir()
        duplicate(reproduced, folder)
        output = shell("dvc", "exp", "run", "--name", "try", "--set-param", "lr=1e-5", cwd=folder)
        folder.with_suffix(".log").write_text(output)

    return made_once(tmp_path_factory, "experimented", make)


@pytest.fixture
def copy(reproduced, tmp_path) -> Path:
    """A copy of the reproduced repository, with MLflow's files, that a test may change."""
    return duplicate(reproduced, tmp_path / "copy")


def duplicate(source: Path, folder: Path) -> Path:
    """Copy a repository, and update the paths in MLflow's store."""
    shutil.copytree(source, folder, symlinks=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
        for table, column in ARTIFACT_PATHS:  # MLflow keeps them absolute
            statement = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            store.execute(statement, (str(source), str(folder)))
    return folder


def facemask(*args, **environment) -> subprocess.CompletedProcess:
    """Call the console script, in its own process, in the current folder."""
    return programs.run("facemask", *args, **environment)


@pytest.fixture(scope="session")
def exported(reproduced, tmp_path_factory) -> Path:
    """The folder of .tflite files that the tiny pipeline exports. Read only."""
    return with_rule(reproduced / "models/tflite", tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def exported_detector(tmp_path_factory) -> Path:
    """An untrained detector as a .tflite file with its labels and threshold inside. Read only."""
    from facemask.core.files import prepare_tensorflow
    from facemask.engines import litert
    from facemask.networks import detection

    prepare_tensorflow(7, 2)
    whole = detection.decoded(detection.build("mobilenet_v2", 0.35, "none", "input", 16, 96, 3, None))
    labels = "\n".join(sorted(synthetic_scenes.FRACTIONS))
    content = litert.with_labels(litert.convert(whole), labels.encode())
    file = tmp_path_factory.mktemp("exported") / "detector.tflite"
    file.write_bytes(litert.with_file(content, "detector.json", json.dumps({"score": 0.005}).encode()))
    return file


def with_rule(exported: Path, folder: Path, **changes) -> Path:
    """A copy of an exported folder with changes in decision.json or faces.json."""
    copied = Path(shutil.copytree(exported, folder / "tflite", copy_function=shutil.copyfile))
    for file in (copied / "decision.json", copied / "faces.json"):
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {name: changes[name] for name in content.keys() & changes}))
    return copied


def draw_photos(folder: Path, count: int = 4) -> list[Path]:
    """Synthetic faces as files, 60 pixels each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        label = ("with_mask", "without_mask")[number % 2]
        synthetic.draw_face(np.random.default_rng([9, number]), label, 60).save(path)
    return paths


@pytest.fixture(scope="session")
def photos(shared, tmp_path_factory) -> Path:
    """Four hundred real photos, about every ninth of the archive, with its odd names and formats."""
    path = tmp_path_factory.mktemp("photos") / "photos.zip"
    with zipfile.ZipFile(shared / "data/face-mask-3833.zip") as source, zipfile.ZipFile(path, "w") as target:
        members = [name for name in source.namelist() if not name.endswith("/")]
        for name in members[:: len(members) // 400][:400]:
            target.writestr(name, source.read(name))
    return path


@pytest.fixture(scope="session")
def trained_on_photos(photos, shared, tmp_path_factory) -> Path:
    """A checkout in which the archive preset has run on four hundred real photos. Read only."""

    def make(folder: Path) -> None:
        checkout(folder)
        shutil.copy(ROOT / "params.yaml", folder)
        shell(sys.executable, "-m", "facemask.experiments.preset", "name=archive", cwd=folder)
        commit(folder, "archive preset")
        weights = shared / "weights/mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
        settings = [f"datasets.photos.path={photos}", f"weights={weights}", "export.max_accuracy_drop=0.05", "epochs=2"]
        shell("dvc", "exp", "run", *(word for setting in settings for word in ("--set-param", setting)), cwd=folder)

    return made_once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def real_model(request, tmp_path_factory) -> Path:
    """An exported model for real faces: $FACEMASK_MODEL, or one trained here on four hundred photos."""
    if named := os.environ.get("FACEMASK_MODEL"):
        return Path(named)
    made = request.getfixturevalue("trained_on_photos") / "models/tflite"
    return with_rule(made, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos and weights; skips the test if it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"needs real photos in {SHARED}; set FACEMASK_SHARED")
    return SHARED
