"""Malicious archives and images: refused with name and reason, nothing written outside, memory bounded."""

import gzip
import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import programs
import pytest
from conftest import SURVEY, archived, write_params
from PIL import Image

from facemask.data.archive import write_archive

GIGABYTE = 2**30
OUTPUTS = ("examined", "examined.json", "faces.csv", "rejects.csv", "pairs.csv", "groups.png")


def measured(name: str, *args: str) -> tuple[int, str, int]:
    """Run a stage in one process; return its exit status, its standard error, and its peak memory in bytes."""
    done = programs.run("peak", f"stages.{name}", *args, LOKY_MAX_CPU_COUNT="1")
    kilobytes = int(Path("peak.txt").read_text())
    Path("peak.txt").unlink()
    return done.returncode, done.stderr, kilobytes * 1024


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], **settings) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(info, content, **settings)
    return file.getvalue()


def special(kind: int) -> bytes:
    member = zipfile.ZipInfo("evil.jpg")
    member.external_attr = (kind | 0o777) << 16
    return zip_of((member, b"/etc/passwd"))


def patched(content: bytes, offset: int, value: bytes) -> bytes:
    """The bytes at an offset of the central directory's first entry replaced."""
    start = content.index(b"PK\x01\x02") + offset
    return content[:start] + value + content[start + len(value) :]


def renamed(name: bytes) -> bytes:
    """A member with a name that zipfile would not write."""
    return zip_of(("x" * len(name), b"x")).replace(b"x" * len(name), name)


def overlapping(members: int) -> bytes:
    """Many members, all with the same stored megabyte as their content."""
    megabyte = bytes(2**20)
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, zlib.crc32(megabyte), 2**20, 2**20, 0, 0)
    names = [f"{number:06d}.jpg".encode() for number in range(members)]
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, zlib.crc32(megabyte), 2**20, 2**20,
                    len(name), 0, 0, 0, 0, 0, 0) + name
        for name in names
    )  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, members, members, len(entries), len(local) + 2**20, 0)
    return local + megabyte + entries + end


def crowded(members: int) -> bytes:
    """A directory with so many entries that parsing it would fill the memory."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * members, 0, 0)
    return entry * members + end


GOOD = zip_of(("good.jpg", b"x" * 1000), ("evil.jpg", b"some content"))
DEFLATED = {"compress_type": zipfile.ZIP_DEFLATED}
ARCHIVES = {
    "climbs": (zip_of(("../evil.jpg", b"x")), "'../evil.jpg' climbs out"),
    "climbs inside": (zip_of(("a/../../evil.jpg", b"x")), "'a/../../evil.jpg' climbs out"),
    "absolute": (zip_of(("/tmp/evil.jpg", b"x")), "'/tmp/evil.jpg' has an absolute path"),
    "drive": (zip_of(("C:/evil.jpg", b"x")), "'C:/evil.jpg' has an absolute path or a drive letter"),
    "backslashes": (zip_of(("..\\evil.jpg", b"x")), "climbs out"),
    "share": (zip_of(("\\\\server\\evil.jpg", b"x")), "has an absolute path"),
    "no name": (renamed(b""), "'' has no name"),
    "dot": (renamed(b"."), "'.' has no name"),
    "link": (special(stat.S_IFLNK), "'evil.jpg' is a link or a device"),
    "character device": (special(stat.S_IFCHR), "'evil.jpg' is a link or a device"),
    "block device": (special(stat.S_IFBLK), "'evil.jpg' is a link or a device"),
    "pipe": (special(stat.S_IFIFO), "'evil.jpg' is a link or a device"),
    "socket": (special(stat.S_IFSOCK), "'evil.jpg' is a link or a device"),
    "encrypted": (patched(zip_of(("evil.jpg", b"x")), 8, b"\x01\x00"), "'evil.jpg' is encrypted"),
    "twice": (GOOD.replace(b"evil.jpg", b"good.jpg"), "'good.jpg' is there twice"),
    "bomb": (zip_of(("evil.jpg", bytes(100 * 2**20)), **DEFLATED), "'evil.jpg' unpacks to more than 200 times"),
    "declared bomb": (patched(zip_of(("evil.jpg", b"x")), 24, b"\xf0\xff\xff\xff"), "'evil.jpg' unpacks to more than"),
    "overlap": (overlapping(2000), "its members overlap"),
    "crowd": (crowded(3_000_000), "has 3,000,000 members; 500,000 are allowed"),
    "unknown method": (patched(zip_of(("evil.jpg", b"x")), 10, b"\x63\x00"), "'evil.jpg' cannot be unpacked"),
    "wrong sum": (GOOD.replace(b"some content", b"evil content"), "'evil.jpg' cannot be unpacked: Bad CRC-32"),
    "broken stream": (
        zip_of(("evil.jpg", b"ab" * 500), **DEFLATED).replace(b"KLJ", b"\xff\xff\xff"),
        "'evil.jpg' cannot be unpacked",
    ),
    "nowhere": (patched(zip_of(("evil.jpg", b"x")), 42, b"\xff\xff\xff\x0f"), "'evil.jpg' cannot be unpacked"),
    "cut short": (GOOD[:-40], "is not a zip, or is cut short"),
    "empty": (b"", "is not a zip, or is cut short"),
    "page": (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page, not a zip"),
    "gzip": (gzip.compress(b"photos" * 1000), "is not a zip, or is cut short"),
    "noise": (np.random.default_rng(0).bytes(100_000), "is not a zip, or is cut short"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_hostile_archive_is_refused_by_name(tmp_path, name):
    content, message = ARCHIVES[name]
    Path("photos.zip").write_bytes(content)
    write_params(tmp_path, datasets=archived("photos.zip"))
    status, stderr, memory = measured("fetch", "raw=raw")
    assert status == 1, stderr
    assert stderr.startswith(("fetch: photos.zip", "fetch: raw.zip"))
    assert message in stderr
    assert stderr.count("\n") == 1
    assert memory < GIGABYTE
    assert {path.name for path in tmp_path.iterdir()} == {"photos.zip", "raw", "params.yaml", "corrections.csv"}
    assert not list((tmp_path / "raw").iterdir())
    assert not list(tmp_path.parent.glob("evil*"))


def encoded(kind: str, size: tuple[int, int] = (40, 40), mode: str = "RGB", **settings) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(size).integers(0, 255, (size[1], size[0]), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind, **settings)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def vast_png(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that declares this size."""
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000_000), 9)) + chunk(b"IEND", b"")


PNG = encoded("PNG")
IMAGES = {
    "empty": (b"", "empty file"),
    "text": (b"not a photo", "not an image"),
    "page": (b"<html><body>404</body></html>", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/evil) (w) file\n%%EOF\n", "not an image"),
    "icon": (encoded("ICO"), "not an image"),
    "short jpeg": (encoded("JPEG")[:400], "cannot be decoded"),
    "short png": (PNG[: len(PNG) // 2], "cannot be decoded"),
    "short webp": (encoded("WEBP")[:200], "cannot be decoded"),
    "short bmp": (encoded("BMP")[:2000], "cannot be decoded"),
    "short gif": (encoded("GIF")[:500], "not an image"),
    "short tiff": (encoded("TIFF", compression="tiff_lzw")[:-900], "not an image"),
    "head of a jpeg": (encoded("JPEG")[:20], "not an image"),
    "png of no rows": (PNG[:16] + bytes(8) + PNG[24:], "not an image"),
    "png with a wrong sum": (PNG.replace(b"IDAT", b"IDAX"), "not an image"),
    "900 megapixels": (vast_png(30_000, 30_000), "30000 x 30000 pixels; 50,000,000 are allowed"),
    "4 gigapixels declared": (vast_png(65_000, 65_000), "65000 x 65000 pixels"),
    "one column": (vast_png(1, 50_000_000), "1 x 50000000 pixels; a side of 65,535 is allowed"),
    "130 megabytes": (bytes(130 * 2**20), "134,217,728 are allowed"),
    "49 megapixels": (encoded("PNG", (7000, 7000), "RGBA", compress_level=1), None),
    "one pixel": (encoded("PNG", (1, 1)), None),
    "one row": (encoded("PNG", (3000, 1)), None),
}


def test_hostile_images_are_listed_with_the_reason_and_the_others_are_read(tmp_path):
    good = [(f"{label}_mask/good {n}.jpg", encoded("JPEG")) for label in ("with", "without") for n in range(20)]
    bad = [(f"with_mask/{name}.jpg", content) for name, (content, _) in IMAGES.items()]
    write_archive(Path("raw/photos.zip"), good + bad)
    write_params(tmp_path, survey__classes={"with_mask": [], "without_mask": []}, survey__max_rejected=0.5)
    status, stderr, memory = measured("survey", *SURVEY)
    assert status == 0, stderr
    assert memory < GIGABYTE
    rejects = pd.read_csv("rejects.csv").set_index("member").reason
    read = set(pd.read_csv("faces.csv").member)
    for name, (_, reason) in IMAGES.items():
        member = f"with_mask/{name}.jpg"
        assert (member in read) == (reason is None), name
        if reason:
            assert reason in rejects[member], name
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "params.yaml", "corrections.csv", *OUTPUTS}
    assert not list(tmp_path.parent.glob("evil*"))
