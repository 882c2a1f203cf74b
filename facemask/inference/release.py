"""Where the classifier is: named, exported by the pipeline, or released.

A release is one zip with an exported folder and its model card. `release.toml`, which `make release` writes, says where
it is; without that file there is none.
"""

import tomllib
import zipfile
from pathlib import Path

from facemask.core.errors import UserError
from facemask.inference.classifier import DEFAULT_FOLDER, AnyPath
from facemask.inference.download import fetched

FILE = Path(__file__).with_name("release.toml")


def located(named: Path | None) -> AnyPath:
    """The path that was named, else `models/tflite`, else the release, which is read inside its zip in the cache.

    Raises
    ------
    UserError
        If there is none of them, or the release cannot be fetched.
    """
    if named:
        return named
    if DEFAULT_FOLDER.is_dir():
        return DEFAULT_FOLDER
    if not FILE.is_file():
        raise UserError(
            f"there is no model: `dvc repro` (make repro) makes {DEFAULT_FOLDER} in a clone, --model FOLDER names an "
            "exported folder, and a facemask with a release fetches one, but this one has no release"
        )
    release = tomllib.loads(FILE.read_text(encoding="utf-8"))
    what = f"the released model {release['version']}"
    try:
        return zipfile.Path(fetched(what, release["address"], release["sha256"], release["asset"]))
    except UserError as error:
        raise UserError(
            f"{error}; name an exported folder: --model FOLDER, or make one in a clone: dvc repro"
        ) from None
