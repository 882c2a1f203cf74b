"""The images' recipe, what the image for prediction installs, and the wheel."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, draw_photos, free_port, shell, wait_until
from test_predict import HEAVY

DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENVIRONMENT = "/opt/facemask"


def test_the_recipe_passes_the_linter():
    shell("hadolint", "Dockerfile", cwd=ROOT)


def instructions(stage: str) -> Iterator[tuple[str, str]]:
    """The instructions of a stage of the Dockerfile, each with its arguments as one line."""
    body = re.search(rf"^FROM \S+ AS {stage}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    for line in re.sub(r"^#.*\n|\\\n", "", body, flags=re.MULTILINE).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def test_prediction_is_the_default_and_runs_as_a_user():
    assert re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "predict"
    for stage in ("tools", "predict"):
        assert dict(instructions(stage))["USER"] == "1000"


def test_the_dev_container_uses_what_is_there():
    content = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    build = content["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).samefile(ROOT / "Dockerfile")
    commands = [rest for name, rest in instructions(build["target"]) if name == "RUN"]
    assert any(f"useradd --uid 1000 --create-home {content['remoteUser']}" in command for command in commands)
    shell("make", "--dry-run", content["postCreateCommand"].removeprefix("make "), cwd=ROOT)


def install(folder: Path) -> Path:
    """Run the steps of the stage `environment` in a folder, with a pip of its own; return the environment."""
    venv.create(folder / "base", with_pip=True)
    made, source = folder / "facemask", folder / "source"
    source.mkdir()
    variables = {"PATH": f"{folder / 'base/bin'}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(made)}
    for name, rest in instructions("environment"):
        if name == "COPY":
            *sources, target = rest.split()
            for one in sources:
                place = source / target / (one if target == "./" else "")
                copy = shutil.copytree if (ROOT / one).is_dir() else shutil.copyfile
                copy(ROOT / one, place)
        elif name == "RUN":
            shell("sh", "-ec", rest, cwd=source, **variables)
        else:
            assert (name, rest) in {("ENV", f"VIRTUAL_ENV={ENVIRONMENT}"), ("WORKDIR", "/source")}
    return made


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_the_image_for_prediction_serves_writes_nothing_and_has_no_tensorflow(exported, tmp_path):
    environment = install(tmp_path)
    shutil.rmtree(tmp_path / "source")
    home = tmp_path / "home"
    shutil.copytree(exported, home / "models/tflite")
    [photo] = draw_photos(tmp_path / "photos", 1)
    before = listing(environment) | listing(home)
    predict, variables = dict(instructions("predict")), {"PATH": str(environment / "bin"), "HOME": str(home)}
    [program], arguments = json.loads(predict["ENTRYPOINT"]), json.loads(predict["CMD"])
    assert predict["ENV"] == f"PATH={ENVIRONMENT}/bin:$PATH"
    port = str(free_port())

    def run(*command) -> subprocess.CompletedProcess:
        words = [environment / "bin" / command[0], *command[1:]]
        return subprocess.run(words, env=variables, cwd=home, capture_output=True, text=True, check=False)

    check = json.loads(re.search(r"CMD (\[.+\])$", predict["HEALTHCHECK"])[1])
    check[-1] = check[-1].replace(predict["EXPOSE"], port)
    assert run(*check).returncode == 1
    serve = [environment / "bin" / program, *arguments, "--port", port, "--detector", "none"]
    with subprocess.Popen(serve, env=variables, cwd=home, stderr=subprocess.DEVNULL) as server:
        wait_until(lambda: run(*check).returncode == 0, "the container is healthy")
        server.terminate()
        assert server.wait(30) in (0, -15)
    done = run(program, "predict", photo, "--detector", "none")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{photo}: ")
    assert listing(environment) | listing(home) == before
    for name in (*HEAVY, "keras", "pytest", "pip"):
        assert run("python", "-c", f"import {name}").returncode == 1, name


@pytest.mark.slow
def test_the_image_refuses_a_package_with_another_hash(tmp_path):
    lock = (ROOT / "requirements.lock").read_text()
    [pinned] = re.findall(r"^h11==.*\n(?:    --hash=.*\n)+", lock, re.MULTILINE)
    (tmp_path / "requirements.lock").write_text(lock.replace(pinned, re.sub(r":\w{64}", ":" + "0" * 64, pinned)))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    venv.create(tmp_path / "base", with_pip=True)
    uv, make = [rest for name, rest in instructions("environment") if name == "RUN"][:2]
    variables = {**os.environ, "PATH": f"{tmp_path / 'base/bin'}{os.pathsep}{os.environ['PATH']}",
                 "VIRTUAL_ENV": str(tmp_path / "made")}  # fmt: skip
    subprocess.run(["sh", "-ec", uv], env=variables, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(["sh", "-ec", make], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert "h11" in done.stderr


def test_the_wheel_has_the_commands_and_the_page_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("facemask", "stages", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "pip wheel --no-deps --no-build-isolation --disable-pip-version-check --wheel-dir wheels ./source"
    shell(sys.executable, "-m", *shlex.split(build), cwd=tmp_path)
    [wheel] = (tmp_path / "wheels").iterdir()
    environment = tmp_path / "empty"
    venv.create(environment)
    python = environment / "bin/python"
    shell(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", wheel, cwd=tmp_path)
    done = subprocess.run(
        [environment / "bin/facemask", "--help"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {"predict", "watch", "serve", "drift"} <= set(done.stdout.split())
    code = """
import importlib.metadata, importlib.resources, importlib.util
print(importlib.metadata.version("facemask"))
print(importlib.resources.files("facemask.inference").joinpath("page/index.html").read_text()[:15].lower())
print(*(importlib.util.find_spec(name) for name in ("stages", "tests")))
"""
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert done.stdout.splitlines() == [version, "<!doctype html>", "None None"]


def test_the_changelog_and_the_citation_are_of_this_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
