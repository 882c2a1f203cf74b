"""Parts: made once, made again when what goes into them changes, and read as one array."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from facemask.core import arrays, parts
from facemask.core.arrays import Joined
from facemask.core.engine import Task
from facemask.core.errors import UserError
from facemask.core.files import digest
from facemask.core.parts import Part
from facemask.data import shards


def work(name: str, content: str, folder: Path) -> dict[str, str]:
    """Write a file with the content, and count the call."""
    if content == "bad":
        raise UserError(f"{name} is bad")
    with Path("calls").open("a") as calls:
        calls.write(f"{name} ")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    return {name: digest(folder / name)}


def make(**contents: str) -> list[str]:
    """Make the parts; return those that were made."""
    Path("calls").write_text("")
    plan = [
        Part(Task(name, lambda name=name: (f"{name}/x.txt", contents[name]), here=True), parts.key(contents[name]))
        for name in contents
    ]
    parts.keep(Path("out"), parts.make(Path("out"), Path("out.json"), plan, work, "test"))
    assert {path.parent.name: path.read_text() for path in Path("out").rglob("*.txt")} == contents
    return Path("calls").read_text().split()


def test_only_parts_that_are_new_or_changed_are_made_and_others_are_removed():
    assert make(a="1", b="2") == ["a/x.txt", "b/x.txt"]
    assert make(a="1", b="2") == []
    assert make(a="1", b="3", c="4") == ["b/x.txt", "c/x.txt"]
    assert make(c="4") == []
    assert [path.name for path in Path("out").iterdir()] == ["c"]


def test_a_part_is_made_again_if_its_file_or_its_record_is_not_as_it_was():
    make(a="1", b="2")
    Path("out/a/x.txt").write_text("9")
    assert make(a="1", b="2") == ["a/x.txt"]
    Path("out/b/x.txt").unlink()
    assert make(a="1", b="2") == ["b/x.txt"]
    Path("out.json").unlink()
    assert make(a="1", b="2") == ["a/x.txt", "b/x.txt"]


def test_of_no_parts_there_is_a_record_too():
    assert make() == []
    assert Path("out.json").read_text() == "{}\n"


def test_after_a_failure_what_was_done_is_not_done_again():
    with pytest.raises(UserError, match=r"^b/x\.txt is bad$"):
        make(a="1", b="bad", c="3")
    assert sorted(path.name for path in Path().iterdir()) == ["calls", "out", "out.json"]
    assert make(a="1", b="2", c="3") == ["b/x.txt", "c/x.txt"]


def test_the_code_of_a_part_is_that_of_all_modules_that_it_imports(tmp_path):
    """A change in a module that is imported indirectly gives another key; one in a module that is not, the same."""
    program = "from facemask.core import parts; from facemask.data import preparation as p; print(parts.code([p], []))"

    def code() -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    shutil.copytree(ROOT / "facemask", tmp_path / "facemask", ignore=shutil.ignore_patterns("__pycache__"))
    first = code()
    for name, changes in (("data/splits.py", False), ("data/images.py", True), ("data/occluders.py", True)):
        with (tmp_path / "facemask" / name).open("a") as file:
            file.write("# changed\n")
        assert (code() != first) == changes, name
        first = code()


# --- several arrays as one


@pytest.fixture
def joined() -> tuple[Joined, np.ndarray]:
    whole = np.random.default_rng(0).integers(0, 255, (10, 2, 3), np.uint8)
    return Joined([whole[:3], whole[3:3], whole[3:4], whole[4:]]), whole


def test_several_arrays_are_read_as_one(joined):
    several, whole = joined
    assert (len(several), several.shape, several.dtype, several.ndim) == (10, whole.shape, whole.dtype, 3)
    np.testing.assert_array_equal(np.asarray(several), whole)
    np.testing.assert_array_equal(np.stack(list(several)), whole)
    for row in (*range(-10, 10), np.int64(3)):
        np.testing.assert_array_equal(several[row], whole[row])
    for start in range(-11, 12):
        for stop in range(-11, 12):
            np.testing.assert_array_equal(several[start:stop], whole[start:stop])
    for index in (slice(None, None, 3), [9, 0, 3, 3], np.array([4, -1]), whole[:, 0, 0] > 99, np.array([], int)):
        np.testing.assert_array_equal(several[index], whole[index])


@pytest.mark.parametrize("index", [10, -11, np.array([10])])
def test_a_row_that_is_not_there_is_an_error(index, joined):
    with pytest.raises(IndexError):
        joined[0][index]


def test_a_split_of_one_zip_is_one_array_and_one_of_several_is_joined_in_order(tmp_path):
    files = shards.part_files([("train", "b"), ("train", "a"), ("test", "a"), ("train", "b")])
    assert files == {("train", "b"): "train/b.npy", ("train", "a"): "train/a.npy", ("test", "a"): "test.npy"}
    digests = {
        file: arrays.write(tmp_path / file, (2, 4), np.float32, [np.full((2, 4), number)])
        for number, file in enumerate(files.values())
    }
    shards.write_order(tmp_path, digests)
    assert shards.order(tmp_path) == {file: digest(tmp_path / file) for file in files.values()}
    assert shards.array(tmp_path, "train")[:][:, 0].tolist() == [0, 0, 1, 1]
    assert isinstance(shards.array(tmp_path, "test"), np.memmap)
    assert json.loads((tmp_path / "parts.json").read_text())["parts"][0]["file"] == "train/b.npy"
