"""The packages of facemask/: imports go one way, and prediction needs nothing of training."""

import ast

import pytest
from conftest import ROOT

# A package may import from itself and from those in the layers before its own, not from others in its layer.
LAYERS = (
    {"core"},
    {"data", "engines", "networks", "evaluation"},
    {"inference"},
    {"experiments"},
)
PACKAGES = [package for layer in LAYERS for package in sorted(layer)]


def imported_packages(package: str) -> set[str]:
    found = set()
    for file in (ROOT / "facemask" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "facemask":
                names = [node.module] if "." in node.module else [f"facemask.{name.name}" for name in node.names]
                found |= {name.split(".")[1] for name in names}
    return found - {package}


def test_every_package_is_in_a_layer_and_has_a_docstring():
    folders = {path.parent.name: path for path in (ROOT / "facemask").glob("*/__init__.py")}
    assert set(folders) == set(PACKAGES)
    assert all(ast.get_docstring(ast.parse(path.read_text())) for path in folders.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package):
    [layer] = [number for number, layer in enumerate(LAYERS) if package in layer]
    assert imported_packages(package) <= set().union(*LAYERS[:layer])
