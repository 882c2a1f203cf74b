"""The log of labelled faces: what each was like, without its picture, for `facemask drift`."""

import csv
import datetime
import io
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.core.errors import UserError
from facemask.data.quality import REMEMBERED

if TYPE_CHECKING:
    from facemask.inference.recognition import LabelledFace

COLUMNS = ("time", *REMEMBERED)


class Log:
    """Appends a line a labelled face to a CSV file, whole lines only, from any thread.

    Raises
    ------
    UserError
        If the file is there and is not such a log.
    """

    def __init__(self, file: Path):
        self._lock = threading.Lock()
        self._file = file.open("a+", encoding="utf-8", errors="replace", newline="")
        self._file.seek(0)
        head = self._file.readline()
        if not head:
            self._write([COLUMNS])
        elif head.rstrip("\r\n") != ",".join(COLUMNS):
            raise UserError(f"--log: {file} is not a log of faces; name another file")
        else:
            whole = file.read_bytes().rfind(b"\n") + 1
            self._file.truncate(whole)  # of a last line that was cut off nothing can be used

    def __call__(self, faces: "list[LabelledFace]") -> None:
        """Append those of the faces that have a label."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._write(
            [
                now,
                face.box.shorter_side,
                *(f"{value:.2f}" for value in face.quality),
                f"{face.probability:.4f}",
                face.label,
            ]
            for face in faces
            if face.label and face.quality
        )

    def _write(self, rows: Iterable[Iterable[object]]) -> None:
        lines = io.StringIO(newline="")
        csv.writer(lines, lineterminator="\n").writerows(rows)
        with self._lock:
            self._file.write(lines.getvalue())
            self._file.flush()
