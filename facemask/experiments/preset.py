"""Write a preset into params.yaml: python -m facemask.experiments.preset name=kaggle-7553 [pipeline=detection].

A preset holds only what differs from params.yaml, and may extend another one (`extends`). Sections are merged key by
key; those with keys of the user's choice, `datasets` and `survey.classes`, are replaced. Comments of params.yaml stay.
"""

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from facemask.core import cli, params
from facemask.core.errors import UserError
from facemask.core.files import write_text

FOLDER = Path("presets")
NAMED_BY_USERS = {"datasets", "classes"}


def reader() -> YAML:
    """A YAML reader and writer that preserves comments and style."""
    yaml = YAML()
    yaml.width = 120
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    return yaml


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The values of a preset, merged over those of the preset that it extends.

    Raises
    ------
    UserError
        If there is no such preset.
    """
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise UserError(f"there is no preset {name}; give one of: {known}")
    tree = reader().load(file)
    base = tree.pop("extends", None)
    return merge(load(base, folder), tree) if base else tree


def merge(tree: Any, changes: dict[str, Any]) -> Any:
    """Merge changed values into a params tree, in place; return it."""
    for key, value in changes.items():
        if isinstance(tree.get(key), dict) and isinstance(value, dict) and key not in NAMED_BY_USERS:
            merge(tree[key], value)
        else:
            tree[key] = value
    return tree


def main(name: str, pipeline: Path = Path()) -> None:
    file, text = pipeline / "params.yaml", StringIO()
    params.read(file)
    yaml = reader()
    try:
        yaml.dump(merge(yaml.load(file), load(name, pipeline / FOLDER)), text)
    except RecursionError:  # ruamel.yaml recurses more often per level than PyYAML
        raise UserError(f"{file} is nested too deeply to be read") from None
    write_text(file, text.getvalue())
    print(f"{file}: {name}; to undo: git checkout {file}")


if __name__ == "__main__":
    cli.run(main)
