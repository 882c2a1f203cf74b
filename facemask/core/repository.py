"""Where the repository is, for a stage that may run in a temporary copy of it."""

import os
from pathlib import Path


def root() -> Path:
    """The checkout DVC runs for; in queued and temporary experiments, the user's own."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute()


def resolve(path: str) -> Path:
    """A path from params.yaml: as it is if absolute, else relative to the user's checkout."""
    return root() / Path(path).expanduser()
