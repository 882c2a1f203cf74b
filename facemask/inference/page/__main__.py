"""Put a page that runs an exported model in the browser into a folder, for any server of files: make page."""

import base64
import hashlib
import importlib.metadata
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from facemask.core import cli
from facemask.core.errors import UserError
from facemask.core.files import replacing
from facemask.engines.litert import packed_file
from facemask.inference import page as sources
from facemask.inference.classifier import DEFAULT_FILE, Classifier
from facemask.inference.detectors.mask_detector import SETTINGS, MaskDetector

DESCRIPTION = "model.json"


class Package(NamedTuple):
    """A package of npm: its version, the hash of its archive as npm writes it, and the files of it that are needed."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]


RUNTIME = {
    "core": Package(
        "@litertjs/core",
        "2.5.3",
        "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
        (
            "package.json",
            "dist/index.js",
            "wasm/litert_wasm_compat_internal.js",
            "wasm/litert_wasm_compat_internal.wasm",
        ),
    ),
    "wasm-utils": Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
        ("package.json", "dist/index.js"),
    ),
}


class StaticModel(sources.Model):
    """The model of a page without a server."""

    labels: list[str] = Field(description="the classes in the order of the outputs")
    finds_faces: bool
    min_score: float | None = Field(description="of a detector, from which on a face is reported")


def main(model: Path, page: Path) -> str:
    if page.exists() and not (page / DESCRIPTION).is_file():
        raise UserError(f"{page} is there and is no such page; name another folder, or delete it")
    file = model if model.suffix == ".tflite" else model / DEFAULT_FILE
    network = opened(file)
    page.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=page.parent, prefix=f".{page.name}.") as temporary:
        folder = Path(temporary)
        for name, package in RUNTIME.items():
            unpack(package, folder / "litert" / name)
        # The packages of npm contain no copy of their licence; this one is of the same repository, under the same.
        [licence] = [file for file in importlib.metadata.files("ai-edge-litert") or [] if file.name == "LICENSE"]
        (folder / "litert/LICENSE").write_text(licence.read_text(), encoding="utf-8")
        (folder / "index.html").write_text(sources.read("index.html"), encoding="utf-8")
        (folder / "engine.js").write_text(sources.read("browser.js"), encoding="utf-8")
        (folder / DESCRIPTION).write_text(description(network, file).model_dump_json(indent=2), encoding="utf-8")
        shutil.copyfile(file, folder / "model.tflite")
        page.mkdir(exist_ok=True)
        for part in folder.iterdir():  # the page may be a repository, and hold files of its host
            with replacing(page / part.name) as partial:
                part.rename(partial)
    return f"{file} runs in the browser: python -m http.server --bind 127.0.0.1 --directory {page}"


def opened(file: Path) -> Classifier | MaskDetector:
    """The classifier or detector in a file that `export` wrote, once it is known to be complete."""
    detects = file.is_file() and packed_file(file.read_bytes(), SETTINGS) is not None
    return MaskDetector(file) if detects else Classifier(file)


def description(network: Classifier | MaskDetector, file: Path) -> StaticModel:
    """What the page says of a model and needs to know of it, with the card that its pipeline wrote, if it is there."""
    detector = network if isinstance(network, MaskDetector) else None
    pipeline = file.absolute().parent.parent.parent
    card = pipeline / "metrics" / ("detector_card.md" if detector else "model_card.md")
    return StaticModel(
        **sources.described(network, network.min_size, sources.card_text(card) if card.is_file() else None),
        labels=network.classes,
        finds_faces=detector is not None,
        min_score=detector.min_score if detector else None,
    )


def unpack(package: Package, folder: Path) -> None:
    """Fetch a package from npm's registry, or its cache, and write the files of it that are needed.

    Raises
    ------
    UserError
        If there is no npm, it cannot fetch the package, or the package is not the one that was chosen.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError("npm, which fetches the runtime for browsers, is missing; install Node.js, then: make page")
    named = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", named, "--prefer-offline", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, check=False)
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode or not archives:
            reason = next(iter(done.stderr.splitlines()), "it wrote nothing")
            raise UserError(f"{named} could not be fetched ({reason:.200}); try again: make page")
        content = archives[0].read_bytes()
    if "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() != package.integrity:
        raise UserError(
            f"{named} is not the archive that this version was tested with: another sha512; check npm's registry"
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in package.files:
            archive.extract(archive.getmember(f"package/{name}").replace(name=name, mode=0o644), folder, filter="data")


if __name__ == "__main__":
    cli.run(main)
