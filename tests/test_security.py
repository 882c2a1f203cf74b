"""Untrusted files are data, never code; secrets stay in the environment."""

import ast
import contextlib
import json
import pickle
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import HEAD_ONLY, ROOT, arguments_of, free_port, shell, stage, tracking_server, write_params
from loopback import kaggle

from facemask.core.errors import UserError
from facemask.core.files import remove
from facemask.data import shards
from facemask.data.archive import write_archive
from facemask.data.sources import synthetic
from facemask.networks import fine_tuning

CODE = [file for folder in ("facemask", "stages", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]

# --- the project's own code

FORBIDDEN = """
pickle.load(file)
pickle.loads(content)
pickle.Unpickler(file)
dill.loads(content)
marshal.loads(content)
shelve.open(name)
pandas.read_pickle(name)
joblib.load(name)
torch.load(name)
yaml.load(text)
yaml.load(text, Loader=yaml.Loader)
yaml.full_load(text)
yaml.unsafe_load(text)
keras.config.enable_unsafe_deserialization()
eval(text)
exec(text)
os.system(text)
os.popen(text)
subprocess.run(text, shell=True)
subprocess.Popen(text, shell=True)
subprocess.getoutput(text)
requests.get(address, verify=False, timeout=9)
tempfile.mktemp()
"""


def test_the_linter_refuses_calls_that_run_data_as_code():
    modules = ["dill", "joblib", "keras", "marshal", "os", "pandas", "pickle", "requests", "shelve", "subprocess",
               "tempfile", "torch", "yaml"]  # fmt: skip
    source = "".join(f"import {module}\n" for module in modules) + FORBIDDEN
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--output-format=json", "--stdin-filename=stages/untrusted.py", "-"],
        cwd=ROOT, input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    refused = {each["location"]["row"] for each in json.loads(done.stdout) if re.match(r"S|TID251", each["code"])}
    lines = dict(enumerate(source.splitlines(), start=1))
    assert [line for row, line in lines.items() if row > len(modules) and line and row not in refused] == []


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_call_disables_safe_loading(file):
    """Beyond the linter: np.load and load_model are safe unless an argument says otherwise."""
    arguments = {node.arg for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.keyword)}
    assert not arguments & {"allow_pickle", "safe_mode", "shell"}


# --- untrusted files


class Bomb:
    """Unpickled, it leaves a file named `ran`."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("ran").absolute(),)


@pytest.fixture(scope="session")
def hostile_models(tmp_path_factory) -> dict[str, Path]:
    """Models that would leave a file named `ran` if they were trusted; one by a lambda, one by naming a function."""
    import keras

    folder = tmp_path_factory.mktemp("models")
    pixels = keras.Input((32, 32, 3), dtype="uint8")
    with contextlib.chdir(folder):
        altered = keras.layers.Lambda(lambda batch: (__import__("pathlib").Path("ran").touch(), batch)[1])(pixels)
    keras.Model(pixels, keras.layers.Flatten()(altered)).save(folder / "lambda.keras")

    named = keras.Model(pixels, keras.layers.Activation("relu")(keras.layers.Flatten()(pixels)))
    named.save(folder / "plain.keras")
    with zipfile.ZipFile(folder / "plain.keras") as plain, zipfile.ZipFile(folder / "named.keras", "w") as changed:
        for name in plain.namelist():
            content = plain.read(name)
            if name == "config.json":
                function = {"module": "os", "class_name": "function", "config": "mkdir", "registered_name": "mkdir"}
                assert b'"activation": "relu"' in content
                content = content.replace(b'"activation": "relu"', b'"activation": ' + json.dumps(function).encode())
            changed.writestr(name, content)
    (folder / "page.keras").write_bytes(b"<html>Sign in</html>")
    return {file.stem: file for file in folder.glob("*.keras")} | {"absent": folder / "absent.keras"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lambda", "cannot be loaded in safe mode (Requested the deserialization of a `Lambda` layer"),
        ("named", "cannot be loaded in safe mode ("),
        ("page", "is missing, or not a complete .keras file"),
        ("absent", "is missing, or not a complete .keras file"),
    ],
)
def test_an_unsafe_model_is_refused_in_one_line(hostile_models, name, reason, tmp_path):
    with pytest.raises(UserError) as caught:
        fine_tuning.load(hostile_models[name])
    assert reason in str(caught.value)
    assert f"{name}.keras" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_hostile_model_would_run_if_it_was_trusted(hostile_models):
    import keras

    keras.saving.load_model(hostile_models["lambda"], safe_mode=False)
    assert Path("ran").exists()


def test_a_stage_does_not_run_the_code_in_a_model(copy, hostile_models):
    write_params(copy, **HEAD_ONLY | {"train_from": "block_16_expand"})
    backbone = copy / "models/backbone/backbone.keras"
    backbone.unlink()
    backbone.write_bytes(hostile_models["lambda"].read_bytes())
    outputs = [copy / out for out in ("models/trained.npz", "models/trained.tflite", "models/classifier.tflite")]
    before = [output.read_bytes() for output in outputs]
    done = stage("train", *arguments_of("train"), folder=copy)
    assert done.returncode == 1
    assert not (copy / "ran").exists()
    assert done.stderr.splitlines()[-1].startswith(
        "train: models/backbone/backbone.keras cannot be loaded in safe mode ("
    )
    assert [output.read_bytes() for output in outputs] == before


def test_a_shard_that_is_a_pickle_is_refused(tmp_path):
    np.save("train.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    Path("test.npy").write_bytes(pickle.dumps(Bomb()))
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"is not a complete array of numbers; make it again with: dvc repro$"):
            shards.array(Path(), split)
    assert not Path("ran").exists()
    np.load("train.npy", allow_pickle=True)
    assert Path("ran").exists(), "the bomb of this test does not work"


# --- the tracking UI


@pytest.mark.slow
def test_the_tracking_ui_listens_only_on_loopback(copy):
    """The command of `make ui`, on a free port."""
    *_, line = shell("make", "--dry-run", "--old-file=.venv/requirements.lock", "ui", cwd=copy).splitlines()
    args, port = shlex.split(line), free_port()
    args[args.index("--port") + 1] = str(port)
    with tracking_server(args, port, copy) as server:
        listening = set()
        for process in [server, *server.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):  # a child may end meanwhile
                listening |= {each.laddr for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
    assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", port)}


# --- secrets

MARKER = "secret" * 5  # as a whole, not in this file
SECRETS = dict.fromkeys(
    ["KAGGLE_KEY", "KAGGLE_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_TOKEN"], MARKER
)


def holders(folder: Path) -> list[Path]:
    """The files that hold the marker, databases, caches and Git's own among them."""
    return [file for file in folder.rglob("*") if file.is_file() and MARKER.encode() in file.read_bytes()]


def test_a_search_finds_the_marker(tmp_path):
    (tmp_path / "some.db").write_bytes(b"\0\1" + MARKER.encode() + b"\2")
    assert holders(tmp_path) == [tmp_path / "some.db"]


def test_fetching_leaves_no_secret_behind(tmp_path):
    write_archive(Path("served.zip"), (synthetic.draw_member(index, 40) for index in range(30)))
    write_params(tmp_path, datasets={"photos": {"use": "split", "source": "kaggle", "handle": "someone/masks/2"}})
    with kaggle(Path("served.zip").read_bytes()) as server:
        server.password = f"Bearer {MARKER}"
        Path("home").mkdir()
        environment = server.environment(tmp_path / "home") | SECRETS
        done = stage("fetch", "raw=raw", **environment)
    assert done.returncode == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    assert holders(tmp_path) == []


@pytest.mark.slow
def test_a_recorded_training_leaves_no_secret_behind(copy):
    for store in ("mlflow.db", "mlartifacts"):
        remove(copy / store)  # which knows the folder that this is a copy of
    output = shell("dvc", "repro", "--verbose", "--force", "--single-item", "train", "record", cwd=copy, **SECRETS)
    assert MARKER not in output
    assert holders(copy) == []
    assert {"trained.npz", "test.json"} <= {file.name for file in (copy / "mlartifacts").rglob("*")}
