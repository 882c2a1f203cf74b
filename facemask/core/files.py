"""Atomic and reproducible files: the same inputs give the same bytes, and a file is complete or absent."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.core.errors import UserError
from facemask.core.terminal import silenced

if TYPE_CHECKING:
    import keras

DECIMALS = 6
EARLIEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    Works for a file and for a folder. A block that fails leaves `path` as it was; what a killed process left behind is
    removed by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, former = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.former.partial")
    remove(partial)
    try:
        yield partial
        if path.is_dir():
            remove(former)
            path.replace(former)
        partial.replace(path)
        remove(former)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_in(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file in a folder and its subfolders, links followed, sorted.

    Raises
    ------
    UserError
        If a folder contains itself, or something in it is not a file: no photo may be left out silently.
    OSError
        If a folder cannot be listed.
    """
    real = folder.resolve()
    if real in above:
        raise UserError(f"{folder} is a link to a folder that contains it; remove the link")
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from files_in(path, (*above, real))
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path} is not a file, or a broken link; remove it")


def digest(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 with unchanged line ends."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with sorted keys and floats rounded to `DECIMALS`."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(part) for key, part in value.items()}
        if isinstance(value, list):
            return [rounded(part) for part in value]
        return round(float(value), DECIMALS) if isinstance(value, float) else value

    write_text(path, json.dumps(rounded(content), indent=2, sort_keys=True) + "\n")


def prepare_tensorflow(seed: int, threads: int) -> None:
    """Seed TensorFlow and make it deterministic; call before any other use of it.

    The number of threads sets the order of sums, so the result depends on it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silenced():
        import keras
        import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def save_model(model: "keras.Model", path: Path) -> None:
    """Save a model as `.keras` without the dates and memory addresses that Keras writes into the file."""
    with replacing(path) as partial:
        saved = partial.with_name(f"{partial.name}.keras")
        try:
            model.save(saved)
            with zipfile.ZipFile(saved) as source, zipfile.ZipFile(partial, "w") as target:
                for name in sorted(source.namelist()):
                    content = source.read(name)
                    if name.endswith(".json"):
                        content = json.dumps(without_traces(json.loads(content), {}), sort_keys=True).encode()
                    target.writestr(zipfile.ZipInfo(name, EARLIEST_ZIP_DATE), content)
        finally:
            remove(saved)


def without_traces(node: Any, numbers: dict[int, int]) -> Any:
    """The JSON of a saved model without its date, and with object addresses replaced by running numbers."""
    if isinstance(node, list):
        return [without_traces(part, numbers) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: numbers.setdefault(part, len(numbers)) if key == "shared_object_id" else without_traces(part, numbers)
        for key, part in node.items()
        if key != "date_saved"
    }
