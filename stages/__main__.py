"""Check params.yaml as a whole, before the first stage runs: python -m stages."""

import pkgutil
from importlib import import_module

from pydantic import create_model, model_validator

import stages
from facemask.core import cli, params
from stages import augment, survey, train

NAMES = sorted({one.name for one in pkgutil.iter_modules(stages.__path__) if not one.ispkg} - {"__main__"})


class Consistent(augment.Settings, survey.Settings, train.Settings):
    """Conditions on parameters that different stages read."""

    @model_validator(mode="after")
    def labels_are_classes(self) -> "Consistent":
        classes = ", ".join(self.survey.classes)
        for key, label in (("decision.label", self.decision.label), ("augment.unmasked", self.augment.unmasked)):
            if label not in self.survey.classes:
                raise ValueError(f"{key}: {label} is none of survey.classes ({classes})")
        return self


# params.yaml may contain the keys that some stage reads, and no others.
SETTINGS = [import_module(f"stages.{name}").Settings for name in NAMES]
Params = create_model("Params", __base__=(Consistent, *SETTINGS))


def check() -> None:
    """Validate params.yaml."""
    params.validate(Params, params.read())
    for one in SETTINGS:  # some allow less of a parameter than others that read it
        params.load(one)


if __name__ == "__main__":
    cli.run(check)
