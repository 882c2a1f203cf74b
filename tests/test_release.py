"""A model without training: the release, fetched once; and `make release`, which makes one of the champion."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import programs
import pytest
import requests
from conftest import ROOT, draw_photos, facemask, free_port, wait_until
from loopback import offered
from test_promote import promote
from test_serve import serving

from facemask.data.archive import write_archive
from facemask.inference import release

ASSET = "mask-classifier-v1.2.3.zip"
CARD = "# Model card\n"


@pytest.fixture
def asset(exported) -> Path:
    """A released zip in a folder of its own."""
    files = {file.name: file.read_bytes() for file in exported.iterdir()} | {"model_card.md": CARD.encode()}
    head, *faces = files["reference.csv"].splitlines(keepends=True)
    files["reference.csv"] = head + b"".join(faces * 30)  # drift compares no fewer
    write_archive(Path("served", ASSET), sorted(files.items()))
    return Path("served", ASSET).absolute()


@pytest.fixture
def photo() -> Path:
    [drawn] = draw_photos(Path("photos"), 1)
    return drawn


def describe(file: Path, address: str, asset: Path, sha256: str | None = None) -> None:
    """Write a release.toml."""
    sha256 = sha256 or hashlib.sha256(asset.read_bytes()).hexdigest()
    file.write_text(f'version = "v1.2.3"\nasset = "{ASSET}"\naddress = "{address}/{ASSET}"\nsha256 = "{sha256}"\n')


def installed(*description, **more) -> dict[str, str]:
    """The environment of a copy of the package, with the release that is described, if any, and a cache of its own."""
    own = shutil.ignore_patterns(release.FILE.name)
    shutil.copytree(ROOT / "facemask", "installed/facemask", ignore=own, dirs_exist_ok=True)
    if description:
        describe(Path("installed/facemask/inference/release.toml"), *description, **more)
    return {"PYTHONPATH": str(Path("installed").absolute()), "XDG_CACHE_HOME": str(Path("cache").absolute())}


def predict(photo: Path, *args, **environment) -> subprocess.CompletedProcess:
    return facemask("predict", photo, "--detector", "none", "--format", "json", *args, **environment)


def kept() -> list[str]:
    """The names of the files in the cache."""
    return [path.name for path in Path("cache").rglob("*") if path.is_file()]


def test_a_release_is_fetched_once_and_then_needs_no_server(asset, photo, exported):
    with offered(asset.parent) as (address, requested):
        environment = installed(address, asset)
        first = predict(photo, **environment)
        assert requested == [f"/{ASSET}"]
    again = predict(photo, **environment)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert first.stdout == again.stdout == predict(photo, "--model", exported).stdout
    assert again.stderr == ""
    assert kept() == [ASSET]


def test_a_damaged_release_in_the_cache_is_fetched_again(asset, photo):
    with offered(asset.parent) as (address, requested):
        environment = installed(address, asset)
        first = predict(photo, **environment)
        next(Path("cache").rglob(ASSET)).write_bytes(asset.read_bytes()[:-9])
        assert predict(photo, **environment).stdout == first.stdout != ""
    assert len(requested) == 2


def test_a_named_model_comes_first_then_the_exported_one_then_the_release(asset, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    monkeypatch.setattr(release, "FILE", Path("release.toml").absolute())
    Path("models/tflite").mkdir(parents=True)
    with offered(asset.parent) as (address, requested):
        describe(release.FILE, address, asset)
        assert release.located(Path("named")) == Path("named")
        assert release.located(None) == Path("models/tflite")
        assert requested == []
        shutil.rmtree("models")
        assert (release.located(None) / "model_card.md").read_text() == CARD


def test_without_any_model_one_line_names_the_three_ways_to_one(photo):
    environment = installed()
    for command in ("predict", "watch", "serve", "drift"):
        done = facemask(command, *([] if command == "serve" else [photo]), **environment)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith(f"facemask {command}: there is no model")
        assert all(way in line for way in ("dvc repro", "make repro", "--model FOLDER", "release"))


def test_served_with_its_card_and_compared_by_drift(asset, photo, monkeypatch):
    with offered(asset.parent) as (address, _):
        environment = installed(address, asset)
        assert predict(photo, "--log", "log.csv", **environment).returncode == 0
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with serving("--detector", "none", source=Path("installed").absolute()) as server:
        assert requests.get(f"{server.address}api/model", timeout=60).json()["card"] == CARD
    rows = Path("log.csv").read_text().splitlines()
    Path("log.csv").write_text("\n".join([rows[0], *rows[1:] * 40, ""]))
    done = facemask("drift", "log.csv", "--limit", 99, **environment)
    assert done.returncode == 0, done.stderr
    assert f"{ASSET}/reference.csv" in done.stdout


@contextmanager
def cut_short(asset: Path) -> Iterator[tuple[str, threading.Event]]:
    """A server that sends half of the asset; when the event is set, it ends the connection."""
    content, ended = asset.read_bytes(), threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
            connection.sendall(content[: len(content) // 2])
            ended.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", ended
        finally:
            ended.set()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("another file", "at {address} has another sha256 than " + "0" * 64),
        ("no such file", "cannot be fetched from {address} (HTTPError 404)"),
        ("dead server", "cannot be fetched from {address} (ConnectionError)"),
        ("offline", "cannot be fetched from {address} (ConnectionError)"),
        ("cut short", "cannot be fetched from {address} (ChunkedEncodingError)"),
    ],
)
def test_a_release_that_cannot_be_fetched_is_one_clear_line_and_leaves_nothing(fault, reason, asset, photo):
    with offered(asset.parent) as (address, _), cut_short(asset) as (short, ended):
        ended.set()
        addresses = {
            "no such file": f"{address}/elsewhere",
            "dead server": f"http://127.0.0.1:{free_port()}",
            "offline": "http://release.invalid",
            "cut short": short,
        }
        address = addresses.get(fault, address)
        environment = installed(address, asset, sha256="0" * 64 if fault == "another file" else None)
        done = predict(photo, **environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    expected = reason.format(address=f"{address}/{ASSET}")
    assert done.stderr.splitlines()[-1] == (
        f"facemask predict: the released model v1.2.3 {expected}; "
        "name an exported folder: --model FOLDER, or make one in a clone: dvc repro"
    )
    assert kept() == []


def test_after_a_killed_download_the_next_one_succeeds(asset, photo):
    with cut_short(asset) as (address, _):
        command = [sys.executable, "-m", "facemask", "predict", photo, "--detector", "none"]
        variables = {**os.environ, **installed(address, asset)}
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            wait_until(kept, "a part of the release is in the cache")
            process.kill()
        assert process.returncode != 0
    assert ASSET not in kept()
    with offered(asset.parent) as (address, _):
        done = predict(photo, **installed(address, asset))
    assert done.returncode == 0, done.stderr


def make_release(folder: Path, address: str, version: str = "v1.2.3") -> subprocess.CompletedProcess:
    args = f"version={version}", f"address={address}", "folder=releases", "description=release.toml"
    return programs.run("facemask.experiments.release", *args, folder=folder)


def test_a_release_of_the_champion_is_what_was_exported_byte_for_byte_and_predicts(copy, photo):
    assert promote(copy, "HEAD").returncode == 0
    (copy / "releases").mkdir()
    with offered(copy / "releases") as (address, _):
        done = make_release(copy, f"{address}/")
        assert done.returncode == 0, done.stderr
        made = copy / "releases" / ASSET
        described = tomllib.loads((copy / "release.toml").read_text())
        assert described == {
            "version": "v1.2.3",
            "asset": ASSET,
            "address": f"{address}/{ASSET}",
            "sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
        }
        assert f"upload it to {address}/{ASSET}, then commit release.toml" in done.stdout
        environment = installed()
        shutil.copy(copy / "release.toml", "installed/facemask/inference")
        found = predict(photo, **environment)
    assert json.loads(found.stdout) == json.loads(predict(photo, "--model", copy / "models/tflite").stdout)
    with zipfile.ZipFile(made) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    exported = {file.name: file.read_bytes() for file in (copy / "models/tflite").iterdir()}
    assert inside == exported | {"model_card.md": (copy / "metrics/model_card.md").read_bytes()}
    before = made.read_bytes()
    made.unlink()
    assert make_release(copy, address).returncode == 0
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "address", "line"),
    [
        ("v1.2.3", "http://127.0.0.1", "MLflow has no champion to release; choose one: make promote EXP=NAME"),
        ("../1", "http://127.0.0.1", "VERSION=../1 is not a version such as v1.0.0"),
        ("v1.2.3", "bucket", "ADDRESS=bucket is not the URL of the folder to which the release will be uploaded"),
    ],
)
def test_a_release_that_cannot_be_made_is_one_line_and_writes_nothing(version, address, line, tmp_path):
    done = make_release(tmp_path, address, version)
    assert (done.returncode, done.stderr) == (1, f"release: {line}\n")
    assert not Path("releases").exists()
    assert not Path("release.toml").exists()
