"""fetch: any source becomes one checked zip, and a failure leaves the old one."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from conftest import archived, stage, write_params

from facemask.data.archive import write_archive

PHOTOS = [("with_mask/a.jpg", b"photo a"), ("without_mask/b.jpg", b"photo b")]
RAW = Path("raw/photos.zip")


def fingerprint() -> str:
    """The sha256 of the list of contents, as `sha256sum data/raw/photos.csv` gives it."""
    return hashlib.sha256(Path("raw/photos.csv").read_bytes()).hexdigest()


def test_the_synthetic_faces_are_the_same_twice(tmp_path):
    write_params(tmp_path)
    for _ in range(2):
        done = stage("fetch", "raw=raw")
        assert done.returncode == 0, done.stderr
        shutil.move("raw/synthetic.zip", tmp_path / f"{len(list(tmp_path.glob('*.zip')))}.zip")
    first, second = sorted(tmp_path.glob("*.zip"))
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_and_a_zip_of_it_have_the_same_content(tmp_path):
    for name, content in PHOTOS:
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(content)
    write_archive(Path("photos.zip"), PHOTOS)
    prints = []
    for path in ("photos", "photos.zip"):
        write_params(tmp_path, datasets=archived(path))
        done = stage("fetch", "raw=raw")
        assert done.returncode == 0, done.stderr
        prints.append(fingerprint())
        assert f"photos: 2 files, sha256: {prints[-1]}" in done.stdout
    assert prints[0] == prints[1]


def test_the_contents_and_the_origin_of_the_zip_are_recorded(tmp_path):
    write_archive(Path("photos.zip"), PHOTOS)
    write_params(tmp_path, datasets=archived("photos.zip"))
    assert stage("fetch", "raw=raw").returncode == 0
    rows = [f"{name},{len(content)},{hashlib.sha256(content).hexdigest()}\n" for name, content in PHOTOS]
    assert Path("raw/photos.csv").read_text() == "".join(["member,bytes,sha256\n", *rows])
    assert json.loads(Path("raw/photos.json").read_text()) == {
        "source": "archive", "name": "photos.zip", "version": None, "licence": None,
        "files": 2, "bytes": 14, "sha256": fingerprint(),
    }  # fmt: skip


def test_content_that_does_not_match_the_pin_is_refused_and_the_old_zip_stays(tmp_path):
    write_archive(Path("photos.zip"), PHOTOS)
    RAW.parent.mkdir()
    RAW.write_bytes(b"what was there")
    write_params(tmp_path, datasets=archived("photos.zip", sha256="0" * 64))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch: datasets.photos.sha256 is {'0' * 64} but the files hash to ")
    assert done.stderr.count("\n") == 1
    assert RAW.read_bytes() == b"what was there"
    pin = done.stderr.split("hash to ")[1][:64]
    write_params(tmp_path, datasets=archived("photos.zip", sha256=pin))
    assert stage("fetch", "raw=raw").returncode == 0


def test_nothing_at_the_path_is_one_line_before_anything_is_fetched(tmp_path):
    drawn = {"use": "split", "source": "synthetic", "images": 30, "size": 64}
    write_params(tmp_path, datasets={"drawn": drawn} | archived("nowhere.zip"))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    problem = f"there is nothing at {tmp_path}/nowhere.zip, the path of a dataset"
    assert done.stderr == f"fetch: {problem}; give a zip or a folder of class folders\n"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "corrections.csv", tmp_path / "params.yaml"]


def packed(path: str = "photos"):
    """Fetch a folder; return the names in the zip, or the error."""
    write_params(Path(), datasets=archived(path))
    done = stage("fetch", "raw=raw")
    if done.returncode:
        assert done.stderr.count("\n") == 1, done.stderr
        assert not Path("raw/photos.zip").exists()
        return done.stderr
    print(done.stdout)
    with zipfile.ZipFile("raw/photos.zip") as archive:
        return archive.namelist()


def test_a_folder_is_packed_with_links_followed_and_without_litter(tmp_path, capsys):
    for name in ("photos/with_mask/0.jpg", "photos/with_mask/0.JPG", "elsewhere/.DS_Store", "elsewhere/more/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "photos/without_mask").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/with_mask/2.jpg").symlink_to(tmp_path / "elsewhere/more/1.jpg")
    assert packed() == ["with_mask/0.JPG", "with_mask/0.jpg", "with_mask/2.jpg", "without_mask/more/1.jpg"]
    assert "1 files left out that operating systems make (.DS_Store)" in capsys.readouterr().out


def test_litter_in_a_zip_is_counted(tmp_path):
    write_archive(Path("photos.zip"), [("with_mask/.DS_Store", b"x"), *PHOTOS])
    write_params(tmp_path, datasets=archived("photos.zip"))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 0, done.stderr
    assert "1 files left out that operating systems make (.DS_Store)" in done.stdout


def test_a_file_that_cannot_be_packed_is_named(tmp_path):
    folder = tmp_path / "photos/with_mask"
    folder.mkdir(parents=True)
    for name, make, message in (
        ("again", lambda path: path.symlink_to(tmp_path / "photos"), "photos/with_mask/again is a link to a folder"),
        ("lost.jpg", lambda path: path.symlink_to("nowhere.jpg"), "lost.jpg is not a file, or a broken link"),
        ("pipe.jpg", os.mkfifo, "pipe.jpg is not a file"),
        ("b\udce9.jpg", Path.touch, "/photos is not UTF-8; rename it, or all of them: convmv"),
    ):
        path = folder / name
        make(path)
        assert message in packed()
        path.unlink()


def test_a_hostile_zip_never_becomes_the_output(tmp_path):
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("../evil.jpg", b"x")
    write_params(tmp_path, datasets=archived("photos.zip"))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    assert "member '../evil.jpg' climbs out" in done.stderr
    assert not RAW.exists()


@pytest.mark.parametrize("name", ["mine.zip", "notes.txt", "marks.json", "photos/with_mask/1.jpg"])
def test_files_of_the_user_in_the_folder_of_the_datasets_are_refused_and_stay(name, tmp_path):
    write_archive(Path("raw", name), PHOTOS)
    write_params(tmp_path, datasets=archived("raw/mine.zip" if name == "mine.zip" else "raw"))
    done = stage("fetch", "raw=raw")
    assert done.returncode == 1
    first = Path("raw") / Path(name).parts[0]
    assert done.stderr == f"fetch: {first} is in the folder of what fetch writes; move it to another folder\n"
    assert Path("raw", name).is_file()


def test_a_dataset_that_is_removed_leaves_no_files(tmp_path):
    write_archive(Path("photos.zip"), PHOTOS)
    write_params(tmp_path, datasets=archived("photos.zip") | {"more": archived("photos.zip", "test")["photos"]})
    assert stage("fetch", "raw=raw").returncode == 0
    assert {path.stem for path in Path("raw").iterdir()} == {"photos", "more"}
    before = RAW.read_bytes()
    write_params(tmp_path, datasets=archived("photos.zip"))
    assert stage("fetch", "raw=raw").returncode == 0
    assert sorted(path.name for path in Path("raw").iterdir()) == ["photos.csv", "photos.json", "photos.zip"]
    assert RAW.read_bytes() == before


@pytest.mark.parametrize("args", [[], ["raw"], ["raw=raw", "more=x"], ["raw=raw", "raw=raw"], ["raw="]])
def test_wrong_arguments_show_the_usage(args, tmp_path):
    write_params(tmp_path)
    done = stage("fetch", *args)
    assert done.returncode == 1
    assert done.stderr == "usage: python -m stages.fetch raw=... [parameters=...]\n"
