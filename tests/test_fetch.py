"""fetch: any source becomes one checked zip, and a failure leaves what was there."""

import shutil
import zipfile
from pathlib import Path

from conftest import stage, write_params

from facemask.archive import Archive, write_archive

PHOTOS = [("with_mask/a.jpg", b"photo a"), ("without_mask/b.jpg", b"photo b")]
RAW = Path("raw.zip")


def fingerprint(path: Path) -> str:
    with Archive(path) as archive:
        return archive.fingerprint()


def test_the_demo_is_drawn_the_same_twice(tmp_path):
    write_params(tmp_path, dataset__images=30)
    for _ in range(2):
        done = stage("fetch", RAW)
        assert done.returncode == 0, done.stderr
        shutil.move(RAW, tmp_path / f"{len(list(tmp_path.glob('*.zip')))}.zip")
    first, second = sorted(tmp_path.glob("*.zip"))
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_and_a_zip_of_it_have_the_same_content(tmp_path):
    for name, content in PHOTOS:
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        (tmp_path / "photos" / name).write_bytes(content)
    write_archive(Path("photos.zip"), PHOTOS)
    prints = []
    for path in ("photos", "photos.zip"):
        write_params(tmp_path, dataset__source="archive", dataset__path=path)
        done = stage("fetch", RAW)
        assert done.returncode == 0, done.stderr
        prints.append(fingerprint(RAW))
        assert f"2 files, dataset.sha256: {prints[-1]}" in done.stdout
    assert prints[0] == prints[1]


def test_other_content_than_pinned_is_refused_and_the_old_zip_stays(tmp_path):
    write_archive(Path("photos.zip"), PHOTOS)
    RAW.write_bytes(b"what was there")
    write_params(tmp_path, dataset__source="archive", dataset__path="photos.zip", dataset__sha256="0" * 64)
    done = stage("fetch", RAW)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch: dataset.sha256 is {'0' * 64} but the files hash to ")
    assert done.stderr.count("\n") == 1
    assert RAW.read_bytes() == b"what was there"
    write_params(
        tmp_path, dataset__source="archive", dataset__path="photos.zip", dataset__sha256=fingerprint(Path("photos.zip"))
    )
    assert stage("fetch", RAW).returncode == 0


def test_nothing_at_the_path_is_one_line(tmp_path):
    write_params(tmp_path, dataset__source="archive", dataset__path="nowhere.zip")
    done = stage("fetch", RAW)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"fetch: dataset.path: there is nothing at {tmp_path}/nowhere.zip; give a zip or a folder of class folders\n"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def test_a_hostile_zip_never_becomes_the_output(tmp_path):
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("../evil.jpg", b"x")
    write_params(tmp_path, dataset__source="archive", dataset__path="photos.zip")
    done = stage("fetch", RAW)
    assert done.returncode == 1
    assert "member '../evil.jpg' climbs out" in done.stderr
    assert not RAW.exists()


def test_a_wrong_number_of_paths_says_how_to_call(tmp_path):
    write_params(tmp_path)
    done = stage("fetch")
    assert done.returncode == 1
    assert done.stderr == "usage: python -m stages.fetch RAW\n"
