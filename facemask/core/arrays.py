"""Arrays on disk, in NumPy's format: written in blocks, memory-mapped, and several of them read as one."""

import hashlib
import io
import operator
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from facemask.core.errors import UserError


def write(file: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[np.ndarray]) -> str:
    """Write an array from blocks of several rows, in order; return the sha256 of the file."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    digest = hashlib.sha256(header.getvalue())
    file.parent.mkdir(parents=True, exist_ok=True)
    # Written, not memory-mapped: with a memory map, a full disk would kill the process without a message.
    with file.open("wb") as opened:
        opened.write(header.getvalue())
        for block in blocks:
            rows = np.ascontiguousarray(block, dtype)
            opened.write(rows.data)
            digest.update(rows.data)
    return digest.hexdigest()


def read(file: Path) -> np.memmap:
    """An array, read-only and memory-mapped.

    Raises
    ------
    UserError
        If the file is not a complete array of numbers.
    """
    try:
        return np.load(file, mmap_mode="r")
    except (ValueError, EOFError):
        raise UserError(f"{file} is not a complete array of numbers; make it again with: dvc repro") from None


def files_of(array: "np.ndarray | Joined") -> list[str]:
    """The files of an array that `read` gave, or of several that are joined."""
    parts = array.parts if isinstance(array, Joined) else [array]
    return [str(cast(np.memmap, part).filename) for part in parts]


def joined(files: Sequence[str]) -> np.ndarray:
    """The array in a file, or those of several as one, as `files_of` names them."""
    parts = [read(Path(file)) for file in files]
    return parts[0] if len(parts) == 1 else cast(np.ndarray, Joined(parts))


class Joined:
    """Several arrays as one with all of their rows, in order; rows are read where they are asked for.

    Index it with a number, a slice, or an array of numbers; what comes back is an ndarray.

    Parameters
    ----------
    parts : sequence of ndarray (n, ...)
        At least one; of equal dtype, and of equal shape but for the number of rows.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype, self.ndim = parts[0].dtype, parts[0].ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return np.concatenate([self.parts[0][:0], *self._between(start, stop)])
            return self[np.arange(start, stop, step)]
        if isinstance(index, list | np.ndarray):
            rows = np.arange(len(self))[index]
            places = np.searchsorted(self._ends, rows, side="right")
            found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
            for place in np.unique(places):
                here = places == place
                found[here] = self.parts[place][rows[here] - self._start(place)]
            return found
        row = range(len(self))[operator.index(index)]
        place = int(np.searchsorted(self._ends, row, side="right"))
        return self.parts[place][row - self._start(place)]

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in self.parts:
            yield from part

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def _start(self, place: int) -> int:
        return int(self._ends[place]) - len(self.parts[place])

    def _between(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for place, part in enumerate(self.parts):
            first = self._start(place)
            if start < first + len(part) and stop > first:
                yield part[max(0, start - first) : stop - first]
