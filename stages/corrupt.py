"""Corrupt test faces, and run the frozen part of the network over them.

Reads the shards and the backbone; writes what the trained part reads of each corrupted face, and a table with the same
rows. So an experiment that trains another head corrupts nothing again. Severity 0 is the face as it is.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, params
from facemask.core.files import replacing
from facemask.core.params import Section, Seed
from facemask.core.terminal import counted
from facemask.data import shards
from facemask.data.corruptions import KINDS, SEVERITIES, Robustness, corrupt
from facemask.engines import litert


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    train_from: str
    robustness: Robustness


def main(pixels: Path, backbone: Path, corrupted: Path) -> str:
    settings = params.load(Settings)
    cv2.setNumThreads(1)
    faces, rows = shards.array(pixels, "test"), shards.rows(pixels, "test")
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(rows))[: settings.robustness.photos])
    pairs = [("", 0), *((kind, severity) for kind in KINDS for severity in SEVERITIES)]
    squares = np.empty((len(pairs), len(chosen), *faces.shape[1:]), np.uint8)
    for number, (kind, severity) in counted(enumerate(pairs), "draw", len(pairs), "corruptions"):
        for square, row in zip(squares[number], chosen, strict=True):
            rng = np.random.default_rng([settings.seed, number, row])
            square[...] = corrupt(np.asarray(faces[row]), kind, severity, rng) if severity else faces[row]
    inputs = squares.reshape(-1, *faces.shape[1:])
    if settings.train_from != "input":
        inputs = np.concatenate(list(litert.run((backbone / "trunk.tflite").read_bytes(), inputs, "corrupted")))
    known = rows.iloc[chosen][["dataset", "member", "label", "group"]]
    table = pd.concat([known.assign(corruption=kind, severity=severity) for kind, severity in pairs])
    with replacing(corrupted) as partial:
        shards.fill(partial, "test", inputs.shape, inputs.dtype, [inputs])
        shards.write_rows(partial, "test", table)
    return f"{len(chosen):,} test faces, each with {len(pairs) - 1} corruptions"


if __name__ == "__main__":
    cli.run(main)
