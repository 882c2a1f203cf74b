"""The root of the repository, for a stage that may run in a temporary copy of it."""

import os
from pathlib import Path


def root() -> Path:
    """The root of the user's checkout, also in queued and temporary experiments."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute()


def resolve(path: str) -> Path:
    """A path from params.yaml, relative to the root of the user's checkout unless it is absolute."""
    return root() / Path(path).expanduser()
