"""Zip files: written reproducibly, checked before they are read."""

import contextlib
import csv
import hashlib
import io
import mmap
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from facemask.core.errors import UserError
from facemask.core.files import EARLIEST_ZIP_DATE, replacing

LITTER = {"__MACOSX", ".DS_Store", "Icon\r", "Thumbs.db", "desktop.ini"}
UTF_8 = 0x800  # the flag of a member whose name is
MAX_MEMBERS = 500_000
MAX_PHOTO_BYTES = 128 * 2**20
MAX_RATIO = 200
BLOCK = 2**20


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write members to a zip whose bytes depend only on their names, content and order."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, EARLIEST_ZIP_DATE), content)


def is_litter(name: str) -> bool:
    """Whether a member is a file that operating systems leave in folders, such as .DS_Store."""
    return not LITTER.isdisjoint(PurePosixPath(name).parts)


def report_litter(names: Iterable[str]) -> None:
    """Print how many files are left out as litter, if any."""
    if names := list(names):
        kinds = sorted(LITTER & {part for name in names for part in PurePosixPath(name).parts})
        print(f"{len(names):,} files left out that operating systems make ({', '.join(map(str.strip, kinds))})")


def true_name(member: zipfile.ZipInfo) -> str:
    """The name of a member: in UTF-8 where its bytes are, also if the zip says nothing of it."""
    if not member.flag_bits & UTF_8:
        with contextlib.suppress(UnicodeError):
            return member.filename.encode("cp437").decode("utf-8")
    return member.filename


def objection(name: str, member: zipfile.ZipInfo) -> str | None:
    """Why a member is refused, or None."""
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if not path.parts:
        return "has no name"
    if path.is_absolute() or re.match(r"[A-Za-z]:", path.parts[0]):
        return "has an absolute path or a drive letter"
    if ".." in path.parts:
        return "climbs out of the archive with .."
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(1, member.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None


def member_count(path: Path) -> int:
    """The number of members in a zip's directory, counted before it is parsed: every entry takes memory."""
    with path.open("rb") as file:
        if not file.seek(0, io.SEEK_END):
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return sum(1 for _ in re.finditer(rb"PK\x01\x02", content))


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip on this machine.

    Raises
    ------
    UserError
        If it is not a zip, or has more than `MAX_MEMBERS` members.
    """
    try:
        if (members := member_count(path)) > MAX_MEMBERS:
            raise UserError(f"{path.name} has {members:,} members; {MAX_MEMBERS:,} are allowed")
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path.name}: member {error.object!r} claims that its name is UTF-8, and it is not; zip it again"
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        with path.open("rb") as file:
            page = file.read(BLOCK).lstrip().startswith(b"<")
        fault = "is a web page, not a zip" if page else "is not a zip, or is cut short"
        raise UserError(f"{path.name} {fault}; get it again") from None


class Files(Protocol):
    """What has files that are read by their name: an archive, or the shards of a dataset."""

    @property
    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...


class Archive:
    """A zip in which every member is checked before the first is read.

    Some programs on Windows write backslashes; here, names have slashes. Some on macOS write UTF-8 without saying so.

    Attributes
    ----------
    names : list of str
        Names of all files except litter, sorted.
    litter : list of str
        Names of files that operating systems leave, sorted.

    Parameters
    ----------
    path : Path
    file : binary file, optional
        Where the zip is if it is not at `path`, which then only names it; its directory is read, and what is asked for.

    Raises
    ------
    UserError
        On opening, if it is not a zip or a member is unsafe; the message names the member.
    """

    def __init__(self, path: Path, file: BinaryIO | None = None):
        self.path = path
        try:
            self._zip = open_zip(path) if file is None else zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            raise UserError(f"{path.name} is not a zip, or is cut short; get it again") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = true_name(member).replace("\\", "/")
            if name.endswith("/"):
                continue
            reason = objection(name, member)
            if not reason and name in self._members:
                reason = "is there twice; keep one of them"
            if reason:
                raise UserError(f"{path.name}: member {member.filename!r} {reason}")
            self._members[name] = member
        size = path.stat().st_size if file is None else file.seek(0, io.SEEK_END)
        if sum(member.compress_size for member in self._members.values()) > size:
            raise UserError(f"{path.name}: its members overlap, so that it unpacks to many times its size")
        self.names = sorted(name for name in self._members if not is_litter(name))
        self.litter = sorted(filter(is_litter, self._members))

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _blocks(self, name: str) -> Iterator[bytes]:
        """The content of a member, in blocks."""
        try:
            with self._zip.open(self._members[name]) as file:
                while block := file.read(BLOCK):
                    yield block
        except Exception as error:  # zipfile's decompressors raise many kinds
            raise UserError(f"{self.path.name}: member {name!r} cannot be unpacked: {error}") from None

    def read(self, name: str) -> bytes:
        """The content of a photo.

        Raises
        ------
        UserError
            If it has more than `MAX_PHOTO_BYTES`, or cannot be unpacked.
        """
        size = self._members[name].file_size
        if size > MAX_PHOTO_BYTES:
            raise UserError(f"{self.path.name}: member {name!r} has {size:,} bytes; {MAX_PHOTO_BYTES:,} are allowed")
        return b"".join(self._blocks(name))

    def contents(self) -> Iterator[tuple[str, int, str]]:
        """Name, bytes and sha256 of every member, in order of name.

        Raises
        ------
        UserError
            If a member cannot be unpacked.
        """
        for name in self.names:
            size, digest = 0, hashlib.sha256()
            for block in self._blocks(name):
                size += len(block)
                digest.update(block)
            yield name, size, digest.hexdigest()

    def directory(self) -> str:
        """Name, bytes and CRC-32 of every member, as CSV in order of name: the content without reading it.

        A member that does not match its CRC-32 cannot be read.
        """
        text = io.StringIO()
        members = ((name, self._members[name].file_size, f"{self._members[name].CRC:08x}") for name in self.names)
        csv.writer(text, lineterminator="\n").writerows(members)
        return text.getvalue()

    @property
    def bytes(self) -> int:
        """The sum of the sizes of all files, unpacked."""
        return sum(self._members[name].file_size for name in self.names)
