"""Check detection/params.yaml as a whole, before the first stage runs: python -m stages.detection."""

import pkgutil
from importlib import import_module
from pathlib import Path

from pydantic import create_model, model_validator

import stages.detection
from facemask.core import cli, params
from stages.detection import evaluate, scenes
from stages.fetch import Settings as Fetch

NAMES = sorted({module.name for module in pkgutil.iter_modules(stages.detection.__path__)} - {"__main__"})
FILE = Path("detection/params.yaml")


class Consistent(evaluate.Settings, scenes.Settings):
    """Conditions on parameters that different stages read."""

    @model_validator(mode="after")
    def merged_are_classes(self) -> "Consistent":
        evaluate.check_merge(self.evaluation.merge, list(self.scenes.classes))
        return self


SETTINGS = [Fetch, *(import_module(f"stages.detection.{name}").Settings for name in NAMES)]
Params = create_model("Params", __base__=(Consistent, *SETTINGS))


def check(parameters: Path = FILE) -> None:
    """Read and check every key: those that some stage reads, and nothing else, may stand there."""
    params.validate(Params, params.read(parameters), parameters)
    for one in SETTINGS:  # some allow less of a parameter than others that read it
        params.load(one, parameters)


if __name__ == "__main__":
    cli.run(check)
