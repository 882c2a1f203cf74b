"""Check, without a network, that requirements.lock has what pyproject.toml requires.

    python -m facemask.experiments.requirements

What the locked packages require themselves is only seen by the resolver: make lock.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facemask.core import cli
from facemask.core.errors import UserError


def pins(lock: str) -> list[Requirement]:
    """The pinned packages of a requirements file, without their hashes."""
    return [Requirement(line) for line in re.findall(r"^[A-Za-z0-9][^\\\n]*", lock, re.MULTILINE)]


def required(project: Mapping[str, Any]) -> Iterator[Requirement]:
    """What the content of a pyproject.toml requires, of all its extras and to be built, without itself."""
    metadata = project["project"]
    extras = metadata["optional-dependencies"].values()
    for line in itertools.chain(project["build-system"]["requires"], metadata.get("dependencies", []), *extras):
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) != canonicalize_name(metadata["name"]):
            yield requirement


def unmet(project: Mapping[str, Any], lock: str) -> list[str]:
    """The requirements that a requirements file has no version of, or another one; each with what it has."""
    versions: dict[str, list[str]] = {}
    for pin in pins(lock):
        versions.setdefault(canonicalize_name(pin.name), []).extend(one.version for one in pin.specifier)
    lines = []
    for requirement in required(project):
        locked = versions.get(canonicalize_name(requirement.name), [])
        if not locked or not all(requirement.specifier.contains(version, prereleases=True) for version in locked):
            lines.append(f"{requirement} (locked: {', '.join(locked) or 'no version'})")
    return lines


def check() -> None:
    lines = unmet(
        tomllib.loads(Path("pyproject.toml").read_text("utf-8")), Path("requirements.lock").read_text("utf-8")
    )
    if lines:
        raise UserError(f"requirements.lock does not fit pyproject.toml: {'; '.join(lines)}; run: make lock")


if __name__ == "__main__":
    cli.run(check)
