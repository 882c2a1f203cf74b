"""Zips: the same content gives the same bytes, and unsafe members are refused by name."""

import stat
import zipfile
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.data.archive import Archive, write_archive

RAW = Path("raw.zip")


def zip_of(*members: tuple[str, bytes], path: Path = RAW, **settings) -> Path:
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_the_same_members_give_the_same_bytes():
    members = [("a/1.jpg", b"one"), ("b/2.jpg", b"two")]
    write_archive(Path("first.zip"), members)
    write_archive(Path("second.zip"), iter(members))
    assert Path("first.zip").read_bytes() == Path("second.zip").read_bytes()


def test_the_contents_do_not_depend_on_the_compression():
    stored = zip_of(("a.jpg", b"one"), ("b.jpg", b"two"))
    packed = zip_of(("b.jpg", b"two"), ("a.jpg", b"one"), path=Path("p.zip"), compression=zipfile.ZIP_DEFLATED)
    other = zip_of(("a.jpg", b"one"), ("c.jpg", b"two"), path=Path("o.zip"))
    prints = []
    for path in (stored, packed, other):
        with Archive(path) as archive:
            prints.append(list(archive.contents()))
    assert prints[0] == prints[1] != prints[2]


def test_names_in_utf_8_are_read_where_the_zip_does_not_say_so():
    """As macOS writes them; what is no UTF-8 keeps the old encoding of zips."""
    name = "в маске/é.jpg"
    with zipfile.ZipFile(RAW, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x" * len(name.encode())), b"one")
        archive.writestr(zipfile.ZipInfo("y.jpg"), b"two")
    unflagged = RAW.read_bytes().replace(b"x" * len(name.encode()), name.encode()).replace(b"y.jpg", b"\x82.jpg")
    RAW.write_bytes(unflagged)
    with Archive(RAW) as archive:
        assert sorted(archive.names) == sorted([name, "é.jpg"])
        assert archive.read(name) == b"one"


def test_litter_and_folders_are_not_members():
    zip_of(("é/ü 1.jpg", b"x"), ("__MACOSX/._1.jpg", b""), ("a/.DS_Store", b""), ("a/Thumbs.db", b""), ("a/", b""),
           ("a/Icon\r", b""))  # fmt: skip
    with Archive(RAW) as archive:
        assert archive.names == ["é/ü 1.jpg"]
        assert archive.litter == ["__MACOSX/._1.jpg", "a/.DS_Store", "a/Icon\r", "a/Thumbs.db"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.jpg", "climbs out"),
        ("a/../../evil.jpg", "climbs out"),
        ("/etc/evil.jpg", "absolute"),
        ("C:/evil.jpg", "drive letter"),
        ("a\\..\\..\\evil.jpg", "climbs out"),
        ("\\\\server\\evil.jpg", "absolute"),
    ],
)
def test_a_name_that_leaves_the_archive_is_refused(name, reason):
    with zipfile.ZipFile(RAW, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(UserError, match=reason) as caught:
        Archive(RAW)
    assert "evil.jpg" in str(caught.value)


def test_a_colon_in_a_name_is_no_drive():
    zip_of(("Screenshot 2020-01-01 12:30:00.jpg", b"x"), ("mask: yes/1.jpg", b"x"))
    with Archive(RAW) as archive:
        assert len(archive.names) == 2


def test_a_link_is_refused():
    member = zipfile.ZipInfo("link.jpg")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(RAW, "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(UserError, match=r"'link.jpg' is a link"):
        Archive(RAW)


def test_names_that_differ_by_case_or_composition_alone_are_two_files():
    zip_of(("a/Face.jpg", b"1"), ("a/face.jpg", b"2"), ("\u00e9.jpg", b"3"), ("e\u0301.jpg", b"4"))
    with Archive(RAW) as archive:
        assert sorted(map(archive.read, archive.names)) == [b"1", b"2", b"3", b"4"]


def test_a_zip_with_backslashes_has_folders():
    zip_of(("photos\\", b""), ("photos\\with mask\\1.jpg", b"1"), ("photos\\Thumbs.db", b""))
    with Archive(RAW) as archive:
        assert archive.names == ["photos/with mask/1.jpg"]
        assert archive.read("photos/with mask/1.jpg") == b"1"
        assert [(name, size) for name, size, _ in archive.contents()] == [("photos/with mask/1.jpg", 1)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a/1.jpg", "a\\1.jpg"])
def test_a_name_used_twice_is_refused(twin):
    zip_of(("a/1.jpg", b"1"), (twin, b"2"))
    with pytest.raises(UserError, match=r"1.jpg' is there twice"):
        Archive(RAW)


def test_a_name_that_is_not_utf_8_as_it_claims_is_shown():
    RAW.write_bytes(zip_of(("b\u00e9.jpg", b"1")).read_bytes().replace("b\u00e9".encode(), b"b\xe9x"))
    with pytest.raises(UserError, match=r"member b'b\\xe9x.jpg' claims that its name is UTF-8, and it is not"):
        Archive(RAW)


def test_a_zip_bomb_is_refused_without_unpacking():
    zip_of(("bomb.jpg", bytes(50 * 2**20)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match=r"'bomb.jpg' unpacks to more than 200 times its size"):
        Archive(RAW)


def test_an_encrypted_member_is_refused():
    content = bytearray(zip_of(("secret.jpg", b"x")).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    RAW.write_bytes(content)
    with pytest.raises(UserError, match=r"'secret.jpg' is encrypted"):
        Archive(RAW)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_file_that_is_not_a_zip_is_refused(content):
    RAW.write_bytes(content)
    with pytest.raises(UserError, match=r"raw.zip is not a zip"):
        Archive(RAW)


def test_a_web_page_is_reported_as_one():
    RAW.write_bytes(b"<html>Sign in</html>")
    with pytest.raises(UserError, match=r"raw.zip is a web page, not a zip"):
        Archive(RAW)


def test_a_damaged_member_is_named():
    zip_of(("a.jpg", b"some content that is long enough"))
    RAW.write_bytes(RAW.read_bytes().replace(b"long", b"LONG"))
    with Archive(RAW) as archive, pytest.raises(UserError, match=r"'a.jpg' cannot be unpacked: Bad CRC"):
        archive.read("a.jpg")
