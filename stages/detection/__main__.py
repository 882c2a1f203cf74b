"""Check detection/params.yaml as a whole, before the first stage runs: python -m stages.detection."""

import pkgutil
from importlib import import_module
from pathlib import Path

from pydantic import create_model

import stages.detection
from facemask.core import cli, params
from stages.fetch import Settings as Fetch

NAMES = sorted({module.name for module in pkgutil.iter_modules(stages.detection.__path__)} - {"__main__"})
FILE = Path("detection/params.yaml")

Params = create_model(
    "Params", __base__=(Fetch, *(import_module(f"stages.detection.{name}").Settings for name in NAMES))
)


def check(parameters: Path = FILE) -> None:
    """Read and check every key: those that some stage reads, and nothing else, may stand there."""
    params.validate(Params, params.read(parameters), parameters)


if __name__ == "__main__":
    cli.run(check)
