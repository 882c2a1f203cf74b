"""The rooms of facemask/: imports run one way, and what predicts needs nothing of what trains."""

import ast

import pytest
from conftest import ROOT

# A room may import from itself and from those below it; rooms on one line know nothing of each other.
FLOORS = (
    {"core"},
    {"data", "engines", "networks", "evaluation"},
    {"inference", "experiments"},
)
ROOMS = [room for floor in FLOORS for room in sorted(floor)]


def imported_rooms(room: str) -> set[str]:
    found = set()
    for file in (ROOT / "facemask" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "facemask":
                names = [node.module] if "." in node.module else [f"facemask.{name.name}" for name in node.names]
                found |= {name.split(".")[1] for name in names}
    return found - {room}


def test_every_room_has_its_place_and_says_what_it_is_for():
    folders = {path.parent.name: path for path in (ROOT / "facemask").glob("*/__init__.py")}
    assert set(folders) == set(ROOMS)
    assert all(ast.get_docstring(ast.parse(path.read_text())) for path in folders.values())


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    [floor] = [number for number, floor in enumerate(FLOORS) if room in floor]
    assert imported_rooms(room) <= set().union(*FLOORS[:floor])
