"""Datasets in shards: listed, read where they are, and looked at again shard by shard."""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SURVEY, stage, write_params
from moto.server import ThreadedMotoServer

from facemask.core.errors import UserError
from facemask.core.files import digest
from facemask.core.tables import read_csv
from facemask.data import remote, shards
from facemask.data.archive import write_archive
from facemask.data.raw import by_dataset, zips
from facemask.data.sources import synthetic
from facemask.data.splits import hashed
from facemask.engines import litert

ACCOUNT = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
ENDS = (0, 30, 37, 60)  # shards of 30, 7 and 23 photos
SPLIT = ("faces=faces.csv", "rejects=rejects.csv", "pairs=pairs.csv", "manifest=manifest.csv", "headlines=h.json",
         "details=data.json")  # fmt: skip
AUGMENT = ("raw=raw", "manifest=manifest.csv", "pixels=shards", "record=shards.json", "sheet=sheet.png")


def sharded(path: str = "packed", **more) -> dict[str, dict]:
    return {"photos": {"use": "split", "source": "shards", "path": path, **more}}


def pack(folder: Path, ends: tuple[int, ...] = ENDS) -> None:
    """Synthetic faces in shards."""
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        write_archive(folder / f"s{number}.zip", (synthetic.draw_member(index, 40) for index in range(start, end)))


def run(name: str, *args: str, **environment: str) -> str:
    done = stage(name, *args, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def repro(environment: dict[str, str] | None = None, **changes) -> str:
    """Fetch, survey, split and augment the shards; return what was printed."""
    split = {"split__method": "hashed", "split__train": 0.4, "split__validation": 0.3, "split__test": 0.3}
    write_params(Path(), **split, **changes)
    steps = ("fetch", ["raw=raw"]), ("survey", SURVEY), ("split", SPLIT), ("augment", AUGMENT)
    return "".join(run(name, *args, **(environment or {})) for name, args in steps)


def records() -> dict[str, str]:
    """The key of every part of survey and augment."""
    known = {name: json.loads(Path(f"{name}.json").read_text()) for name in ("examined", "shards")}
    return {f"{name} {part}": kept["key"] for name, parts in known.items() for part, kept in parts.items()}


def moments() -> dict[str, int]:
    """When each file of the parts was written."""
    return {str(file): file.stat().st_mtime_ns for out in ("examined", "shards") for file in Path(out).rglob("*.npy")}


def test_fetch_lists_shards_with_their_content_and_copies_none():
    pack(Path("packed"))
    Path("packed/README").write_text("hello")
    write_params(Path(), datasets=sharded())
    assert "1 files left out that are no zips" in run("fetch", "raw=raw")
    assert sorted(path.name for path in Path("raw").iterdir()) == ["photos.csv", "photos.json"]
    table = read_csv(Path("raw/photos.csv"))
    assert table.shard.tolist() == ["s0.zip", "s1.zip", "s2.zip"]
    assert table.files.tolist() == [30, 7, 23]
    record = json.loads(Path("raw/photos.json").read_text())
    assert record["files"] == 60
    assert record["sha256"] == digest(Path("raw/photos.csv"))
    write_params(Path(), datasets=sharded(sha256="0" * 64))
    assert stage("fetch", "raw=raw").stderr.startswith(f"fetch: datasets.photos.sha256 is {'0' * 64} but ")


def test_the_content_of_a_shard_counts_and_not_how_it_is_packed():
    pack(Path("packed"))
    write_params(Path(), datasets=sharded())
    run("fetch", "raw=raw")
    listed = Path("raw/photos.csv").read_bytes()
    shutil.unpack_archive("packed/s1.zip", "unpacked")
    shutil.make_archive("packed/s1", "zip", "unpacked")
    run("fetch", "raw=raw")
    before = read_csv(Path("raw/photos.csv"))
    assert Path("raw/photos.csv").read_bytes() == listed
    pack(Path("packed"), (0, 30, 36, 60))
    run("fetch", "raw=raw")
    assert (read_csv(Path("raw/photos.csv")).sha256 == before.sha256).tolist() == [True, False, False]


def test_shards_have_the_faces_of_one_zip_and_the_rows_of_the_manifest():
    pack(Path("packed"))
    repro(datasets=sharded())
    manifest = read_csv(Path("manifest.csv"))
    assert set(manifest.member.str.split("/").str[0]) == {"s0.zip", "s1.zip", "s2.zip"}
    of_shards = {}
    for split in shards.SPLITS:
        rows, pixels = shards.rows(Path("shards"), split), shards.array(Path("shards"), split)
        own = manifest[manifest.split == split]
        assert rows[rows["copy"] == 0].member.tolist() == own.member.tolist()
        assert len(rows) == len(pixels)
        keys = zip(rows.sha256, rows["copy"], strict=True)
        of_shards |= {key: row.tobytes() for key, row in zip(keys, pixels, strict=True)}
    write_archive(Path("whole.zip"), (synthetic.draw_member(index, 40) for index in range(60)))
    repro(datasets={"photos": {"use": "split", "source": "archive", "path": "whole.zip"}})
    of_zip = {}
    for split in shards.SPLITS:
        rows, pixels = shards.rows(Path("shards"), split), shards.array(Path("shards"), split)
        assert isinstance(pixels, np.memmap)
        of_zip |= {key: row.tobytes() for key, row in zip(zip(rows.sha256, rows["copy"]), pixels)}  # noqa: B905
    assert of_shards == of_zip
    assert sorted(path.name for path in Path("shards").iterdir()) == sorted(
        ["parts.json", *(f"{split}.{ending}" for split in shards.SPLITS for ending in ("npy", "csv"))]
    )


def test_a_shard_that_changes_is_looked_at_again_and_no_other():
    pack(Path("packed"))
    repro(datasets=sharded())
    before, written = records(), moments()
    assert len(before) == 6
    repro(datasets=sharded())
    assert (records(), moments()) == (before, written)
    pack(Path("packed"), (0, 30, 37, 62))
    printed = repro(datasets=sharded())
    changed = {name for name, key in records().items() if before[name] != key}
    assert changed == {"examined photos.s2", "shards photos.s2"}
    assert {name for name, moment in moments().items() if written.get(name) != moment} == {
        name for name in moments() if "photos.s2" in name
    }
    assert "read: 2 of 3 parts are here already" in printed
    assert "augment: 2 of 3 parts are here already" in printed
    Path("packed/s1.zip").unlink()
    repro(datasets=sharded())
    assert not [name for name in (*moments(), *records()) if "photos.s1" in name]


def test_a_shard_that_is_not_what_was_fetched_is_one_line():
    pack(Path("packed"))
    write_params(Path(), datasets=sharded())
    run("fetch", "raw=raw")
    pack(Path("packed"), (0, 30, 36, 60))
    done = stage("survey", *SURVEY)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"survey: {Path('packed/s1.zip').absolute()} has changed since it was fetched; run: dvc repro -f fetch"
    )
    with (
        by_dataset(Path("raw")) as archives,
        pytest.raises(UserError, match=r"s1\.zip has changed since it was fetched"),
    ):
        list(archives["photos"].names)


def test_the_ending_of_a_shard_may_be_in_capitals():
    pack(Path("packed"))
    Path("packed/s2.zip").rename("packed/s2.ZIP")
    write_params(Path(), datasets=sharded())
    run("fetch", "raw=raw")
    assert read_csv(Path("raw/photos.csv")).shard.tolist() == ["s0.zip", "s1.zip", "s2.ZIP"]
    run("survey", *SURVEY)
    assert read_csv(Path("faces.csv")).member.str.startswith("s2.ZIP/").sum() == 23


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere", "there is nothing at "),
        ("empty", "there are no zips in "),
        ("broken", "s0.zip is not a zip"),
        ("broken/s0.zip", "FILE is a file; shards are zips in a folder: name that, or set source: archive"),
    ],
)
def test_shards_that_cannot_be_listed_are_one_line(path, problem):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/s0.zip").write_bytes(b"no zip")
    write_params(Path(), datasets=sharded(path))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch: {problem.replace('FILE', str(Path(path).absolute()))}")
    assert done.stderr.count("\n") == 1


def test_a_shard_with_too_large_a_directory_is_refused_before_it_is_parsed(monkeypatch):
    pack(Path("packed"))
    monkeypatch.setattr(remote, "MAX_DIRECTORY_BYTES", 1000)
    with pytest.raises(UserError, match=r"^s0\.zip has too many members"):
        remote.in_place(str(Path("packed/s0.zip").absolute()))


# --- in a bucket


@pytest.fixture
def bucket(monkeypatch) -> Iterator["boto3.resources.base.ServiceResource"]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (ACCOUNT | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket("faces")
    made.create()
    yield made
    server.stop()


def test_shards_in_a_bucket_give_the_files_of_shards_in_a_folder(bucket):
    pack(Path("packed"))
    repro(datasets=sharded())
    in_folder, before = {name: Path(name).read_bytes() for name in moments()}, moments()
    for path in Path("packed").iterdir():
        bucket.upload_file(str(path), f"some/photos/{path.name}")
    shutil.rmtree("packed")
    repro(datasets=sharded("s3://faces/some/photos"))
    assert moments() == before, "the same content was looked at again"
    for out in ("examined", "shards"):
        shutil.rmtree(out)
    repro(datasets=sharded("s3://faces/some/photos"))
    assert {name: Path(name).read_bytes() for name in moments()} == in_folder


def test_single_photos_are_read_in_place(bucket):
    pack(Path("packed"))
    for path in Path("packed").iterdir():
        bucket.upload_file(str(path), f"photos/{path.name}")
    write_params(Path(), datasets=sharded("s3://faces/photos"))
    run("fetch", "raw=raw")
    assert [one.address for one in zips(Path("raw"))] == [f"s3://faces/photos/s{number}.zip" for number in range(3)]
    with by_dataset(Path("raw")) as archives:
        name, content = synthetic.draw_member(31, 40)
        assert archives["photos"].read(f"s1.zip/{name}") == content
        assert len(archives["photos"].names) == 60


@pytest.mark.parametrize("path", ["s3://faces/nothing", "s3://other/photos"])
def test_a_bucket_that_cannot_be_read_is_one_line(path, bucket):
    write_params(Path(), datasets=sharded(path))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    assert done.stderr.startswith("fetch: there ")
    assert path in done.stderr
    assert done.stderr.count("\n") == 1


# --- features, and another engine

FEATURES = ("pixels=shards", "backbone=backbone", "features=features", "record=features.json")


def frozen(pretrained: Path) -> dict:
    """Parameters with a frozen network, whose weights are copied here."""
    shutil.copy(pretrained, "tiny.weights.h5")
    return {"weights": "tiny.weights.h5", "train_from": "head", "datasets": sharded()}


def contents() -> dict[str, bytes]:
    """Every file of the parts, and every record."""
    files = [Path(f"{out}.json") for out in ("examined", "shards", "features")]
    files += [file for out in ("examined", "shards", "features") for file in Path(out).rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.slow
def test_features_are_extracted_again_for_the_files_that_changed(pretrained):
    settings = frozen(pretrained)
    pack(Path("packed"))
    repro(**settings)
    run("features", *FEATURES)
    before = contents()
    pack(Path("packed"), (0, 30, 37, 62))
    repro(**settings)
    run("features", *FEATURES)
    after = contents()
    changed = {name for name in after if name.endswith(".npy") and after[name] != before.get(name)}
    of_pixels = {name.removeprefix("shards/") for name in changed if name.startswith("shards/")}
    assert of_pixels
    assert all(name.endswith("/photos.s2.npy") for name in of_pixels)
    assert {name.removeprefix("features/") for name in changed if name.startswith("features/")} == of_pixels
    keys = [{part: kept["key"] for part, kept in json.loads(one["features.json"]).items()} for one in (before, after)]
    assert {f"{part}.npy" for part, key in keys[1].items() if key != keys[0].get(part)} == of_pixels
    pixels, found = (shards.array(Path(folder), "train") for folder in ("shards", "features"))
    model = Path("backbone/trunk.tflite").read_bytes()
    expected = np.concatenate(list(litert.run(model, np.asarray(pixels), "test")))
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.slow
def test_stages_on_ray_write_the_files_of_the_local_engine(pretrained):
    pytest.importorskip("ray")
    settings = frozen(pretrained)
    pack(Path("packed"))
    repro(**settings)
    run("features", *FEATURES)
    expected = contents()
    for name in ("examined", "shards", "features"):
        shutil.rmtree(name)
    environment = {"FACEMASK_ENGINE": "ray", "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    repro(environment, **settings)
    run("features", *FEATURES, **environment)
    assert contents() == expected


# --- splits that stay


def test_by_hash_faces_keep_their_split_when_others_are_added_also_to_their_groups():
    def drawn(start: int, end: int) -> pd.DataFrame:
        numbers = np.arange(start, end)
        return pd.DataFrame({"group": [f"{number % 2000}" for number in numbers], "sha256": [f"{n}" for n in numbers]})

    fractions = {"train": 0.7, "validation": 0.2, "test": 0.1}
    faces, added = drawn(0, 3000), drawn(3000, 6000)
    whole = pd.concat([faces, added], ignore_index=True)
    whole["group"] = "more " + whole.group  # a group is named by its least sha256
    splits, later = hashed(faces, fractions, 7), hashed(whole, fractions, 7)
    assert later[: len(faces)].equals(splits)
    assert splits.groupby(faces.group).nunique().max() == 1
    assert splits.value_counts(normalize=True).to_dict() == pytest.approx(fractions, abs=0.03)
    assert not hashed(faces, fractions, 8).equals(splits)
