"""Zip files: written the same every time, read with suspicion."""

import functools
import hashlib
import stat
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from facemask.errors import UserError
from facemask.reproducible import EARLIEST_ZIP_DATE, replacing

LITTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
MAX_MEMBERS = 2_000_000
MAX_MEMBER_BYTES = 512 * 2**20
MAX_RATIO = 200


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write members to a zip whose bytes depend on their names, content and order alone."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, EARLIEST_ZIP_DATE), content)


def objection(member: zipfile.ZipInfo) -> str | None:
    """Why a member is refused, or None."""
    name = member.filename
    path = PurePosixPath(name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if path.is_absolute() or "\\" in name or ":" in path.parts[0]:
        return "has an absolute path, a backslash or a drive letter"
    if ".." in path.parts:
        return "climbs out of the archive with .."
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"unpacks to {member.file_size:,} bytes; {MAX_MEMBER_BYTES:,} are allowed"
    if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(1, member.compress_size):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None


class Archive:
    """A zip whose every member has been checked before the first is read.

    Raises
    ------
    UserError
        On opening, if it is no zip or a member is unsafe; the message names the member.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise UserError(f"there is no file {path}") from None
        except zipfile.BadZipFile:
            raise UserError(f"{path} is not a zip, or is cut short; get it again") from None
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(members) > MAX_MEMBERS:
            raise UserError(f"{path} has {len(members):,} members; {MAX_MEMBERS:,} are allowed")
        seen: dict[str, str] = {}
        for member in members:
            reason = objection(member)
            twin = seen.setdefault(member.filename.casefold(), member.filename) if not reason else None
            if twin and (twin != member.filename or self._zip.getinfo(twin) is not member):
                reason = f"has the same name as {twin!r}"
            if reason:
                raise UserError(f"{path}: member {member.filename!r} {reason}")
        self.names = sorted(
            member.filename for member in members if not LITTER & set(PurePosixPath(member.filename).parts)
        )

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_) -> None:
        self._zip.close()

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises
        ------
        UserError
            If it cannot be unpacked as the archive's own directory says.
        """
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, zipfile.zlib.error) as error:
            raise UserError(f"{self.path}: member {name!r} cannot be unpacked: {error}") from None

    def contents(self) -> Iterator[tuple[str, str]]:
        """Name and sha256 of every member, in order of name."""
        for name in self.names:
            yield name, hashlib.sha256(self.read(name)).hexdigest()

    def fingerprint(self) -> str:
        """What the archive holds, however it is packed: sha256 over names and contents."""
        listing = "".join(f"{digest}  {name}\n" for name, digest in self.contents())
        return hashlib.sha256(listing.encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def kept_open(path: Path, changed_ns: int) -> Archive:
    """An archive that stays open between the tasks of a worker process.

    The time of change tells two files of one name apart.
    """
    return Archive(path)
