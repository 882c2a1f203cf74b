"""Zips in a bucket, or wherever fsspec reads: listed, opened in place, or brought here."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from facemask.core.errors import UserError
from facemask.core.repository import resolve
from facemask.data.archive import Archive

MAX_DIRECTORY_BYTES = 2**24
READ_AHEAD = 2**17


def absolute(path: str) -> str:
    """An address, or a path relative to params.yaml, for a process that may run elsewhere."""
    return path if "://" in path else str(resolve(path))


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn whatever a store raises into one line; each has errors of its own.

    Raises
    ------
    UserError
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is nothing at {address}") from None
    except ImportError as error:
        raise UserError(f"{address} cannot be read: {error}; for s3://: pip install '.[s3]'") from None
    except Exception as error:
        raise UserError(f"{address} cannot be read: {type(error).__name__}: {error}") from error


class Bounded:
    """A remote file of which no more is read at once than a zip's directory may have: it is parsed in memory."""

    def __init__(self, file: BinaryIO, name: str):
        self._file, self._name = file, name
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises
        ------
        UserError
            If more are asked for than allowed.
        """
        if size > MAX_DIRECTORY_BYTES:
            raise UserError(f"{self._name} has too many members; make smaller shards, of some thousand photos each")
        return self._file.read(size if size >= 0 else MAX_DIRECTORY_BYTES)


def listed(address: str) -> list[str]:
    """The names of the files directly in a folder or under a prefix, sorted.

    Raises
    ------
    UserError
        If there is none, it is a file, or it cannot be read.
    """
    import fsspec

    with explained(address):
        store, path = fsspec.url_to_fs(address)
        if store.isfile(path):
            raise UserError(f"{address} is a file; shards are zips in a folder: name that, or set source: archive")
        return sorted(
            PurePosixPath(file["name"]).name for file in store.ls(path, detail=True) if file["type"] == "file"
        )


def in_place(address: str) -> Archive:
    """A zip of which only the directory is read, and the members that are asked for.

    Raises
    ------
    UserError
        If it cannot be read, or `Archive` refuses it.
    """
    import fsspec

    with explained(address):
        store, path = fsspec.url_to_fs(address)
        name = PurePosixPath(path).name
        file = store.open(path, "rb", block_size=READ_AHEAD)
        return Archive(Path(name), cast(BinaryIO, Bounded(file, name)))  # it has what zipfile uses


@contextlib.contextmanager
def at_hand(address: str) -> Iterator[Archive]:
    """A whole zip on this machine, until the end of the block: where it is, or a copy.

    Raises
    ------
    UserError
        As `in_place` does.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    with contextlib.ExitStack() as stack:
        with explained(address):
            store, path = fsspec.url_to_fs(address)
            here = Path(path)
            if not isinstance(store, LocalFileSystem):
                here = Path(stack.enter_context(tempfile.TemporaryDirectory()), here.name)
                store.get_file(path, str(here))
        yield stack.enter_context(Archive(here))
