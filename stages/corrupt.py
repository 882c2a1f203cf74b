"""Corrupt test faces, and run the frozen part of the network over them.

Reads the shards and the backbone; writes what the trained part reads of each corrupted face, and a table with the same
rows. So an experiment that trains another head corrupts nothing again. Severity 0 is the face as it is.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask.core import arrays, cli, parallel, params
from facemask.core.files import replacing
from facemask.core.params import Section, Seed
from facemask.core.terminal import counted
from facemask.data import shards
from facemask.data.corruptions import KINDS, SEVERITIES, Robustness, corrupt
from facemask.engines import litert

PAIRS = [(kind, severity) for kind in KINDS for severity in SEVERITIES]


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    train_from: str
    robustness: Robustness


def altered(faces: np.ndarray, chosen: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """The chosen faces as they are, then with each of `PAIRS`: (faces, height, width, 3), uint8."""

    def draw(number: int) -> np.ndarray:
        rngs = (np.random.default_rng([seed, number, row]) for row in chosen)
        pair = PAIRS[number - 1]
        return np.stack([corrupt(faces[row], *pair, rng) for row, rng in zip(chosen, rngs, strict=True)])

    yield faces[chosen]
    drawn = parallel.in_order(draw, range(1, len(PAIRS) + 1), parallel.cores())
    yield from counted(drawn, "draw", len(PAIRS), "corruptions")


def main(pixels: Path, backbone: Path, corrupted: Path) -> str:
    settings = params.load(Settings)
    cv2.setNumThreads(1)
    faces, rows = shards.array(pixels, "test"), shards.rows(pixels, "test")
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(rows))[: settings.robustness.photos])
    shape = ((1 + len(PAIRS)) * len(chosen), *faces.shape[1:])
    known = rows.iloc[chosen][["dataset", "member", "label", "group"]]
    table = pd.concat([known.assign(corruption=kind, severity=severity) for kind, severity in [("", 0), *PAIRS]])
    with replacing(corrupted) as partial:
        squares, test = partial / "squares.npy", partial / "test.npy"
        arrays.write(squares, shape, np.uint8, altered(faces, chosen, settings.seed))
        if settings.train_from == "input":
            squares.rename(test)
        else:
            litert.extract((backbone / "trunk.tflite").read_bytes(), test.name, arrays.read(squares), partial)
            squares.unlink()
        shards.write_rows(partial, "test", table)
    return f"{len(chosen):,} test faces, each with {len(PAIRS)} corruptions"


if __name__ == "__main__":
    cli.run(main)
