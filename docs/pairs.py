"""Contact sheets of near-duplicates, to look at: python docs/pairs.py FOLDER, after dvc repro.

For each kind of pair in data/pairs.csv, FOLDER/KIND.png shows the pairs with the lowest correlation that count, left
and right photo beside each other; FOLDER/different.png shows those with the highest that do not.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from facemask.core.tables import read_csv
from facemask.data import images
from facemask.data.archive import Archive
from facemask.data.raw import by_dataset

PAIRS, COLUMNS = 60, 6
SIDE, GAP = 112, 8  # pixels


def photo(archives: Mapping[str, Archive], dataset: str, member: str) -> np.ndarray:
    """A photo, resized to a square of `SIDE` pixels."""
    return images.cut_out(archives[dataset].read(member), None, SIDE)


def sheet(pairs: pd.DataFrame, archives: Mapping[str, Archive]) -> Image.Image:
    """Pairs in rows of `COLUMNS`, on white."""
    rows = -(-len(pairs) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * (2 * SIDE + GAP), rows * (SIDE + GAP)), "white")
    for number, pair in enumerate(pairs.itertuples()):
        both = [
            photo(archives, pair.left_dataset, pair.left_member),
            photo(archives, pair.right_dataset, pair.right_member),
        ]
        row, column = divmod(number, COLUMNS)
        picture.paste(Image.fromarray(np.hstack(both)), (column * (2 * SIDE + GAP), row * (SIDE + GAP)))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pairs = read_csv(Path("data/pairs.csv")).query("step == 'search' and kind != 'identical'")
    with by_dataset(Path("data/raw")) as archives:
        for kind, found in pairs.groupby("kind"):
            nearest = found.sort_values("correlation", ascending=kind != "", kind="stable").head(PAIRS)
            file = folder / f"{kind or 'different'}.png"
            sheet(nearest, archives).save(file)
            low, high = nearest.correlation.min(), nearest.correlation.max()
            print(f"{file}: {len(nearest)} of {len(found):,} pairs, correlation {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
