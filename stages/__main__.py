"""Check params.yaml as a whole, before the first stage runs: python -m stages."""

import pkgutil
from importlib import import_module

from pydantic import create_model, model_validator

import stages
from facemask.core import cli, params
from stages import survey, train

NAMES = sorted({one.name for one in pkgutil.iter_modules(stages.__path__) if not one.ispkg} - {"__main__"})


class Consistent(survey.Settings, train.Settings):
    """Conditions on parameters that different stages read."""

    @model_validator(mode="after")
    def label_is_a_class(self) -> "Consistent":
        if self.decision.label not in self.survey.classes:
            classes = ", ".join(self.survey.classes)
            raise ValueError(f"decision.label: {self.decision.label} is none of survey.classes ({classes})")
        return self


# params.yaml may contain the keys that some stage reads, and no others.
Params = create_model("Params", __base__=(Consistent, *(import_module(f"stages.{name}").Settings for name in NAMES)))


def check() -> None:
    """Validate params.yaml."""
    params.validate(Params, params.read())


if __name__ == "__main__":
    cli.run(check)
