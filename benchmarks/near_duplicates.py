"""Cost of the search for near-duplicates by the number of photos: python -m benchmarks.near_duplicates [PHOTOS ...]

Photos are random coloured clouds; every tenth is another, rotated by 10 degrees and cropped. The first 10,000 are drawn
and described. More are copies of their features, all codes of a copy changed by the same random bits, so that it shares
none with the others but by chance and what was planted in it is as far apart as in the photos. In random order. Prints
the seconds of each step, those of verification from a sample of the pairs, the recall of what was planted, and the
peak of memory without file-backed pages. The search needs 16 bytes of disk a feature, and more for what they share
(`TMPDIR` says where).
"""

import argparse
import time
from collections.abc import Sequence
from typing import overload

import numpy as np
from PIL import Image

from benchmarks.measure import called
from facemask.data.near_duplicates import candidates
from facemask.data.near_duplicates.features import extract, grey
from facemask.data.near_duplicates.search import NEAREST, SAMPLE
from facemask.data.near_duplicates.verification import align, compare, kind

SIZES = (10_000, 100_000, 1_000_000)
DRAWN = 10_000
EVERY = 10
COMPARED = 1_000  # candidates, from which the time of all is extrapolated


def cloud(number: int) -> np.ndarray:
    """A photo in grey; every tenth is the one before, edited."""
    number %= DRAWN
    edited = number % EVERY == EVERY - 1
    pixels = np.random.default_rng(number - edited).integers(0, 256, (16, 16, 3), np.uint8)
    image = Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC)
    return grey(image.rotate(10).crop((10, 20, 110, 120)) if edited else image)


class Copies(Sequence[np.ndarray]):
    """The features of photos, in that order: those described, and copies of them with other codes."""

    def __init__(self, described: list[np.ndarray], order: np.ndarray):
        self.described, self.order = described, order
        self.words = np.random.default_rng(0).integers(0, 2**64, 1 + len(order) // len(described), np.uint64)
        self.words[0] = 0

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        copy, number = divmod(self.order[index], len(self.described))
        photo = self.described[number].copy()
        photo["code"] ^= self.words[copy]
        return photo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=int, nargs="*", default=SIZES)
    sizes = parser.parse_args().photos
    start = time.process_time()
    described = [extract(cloud(number)) for number in range(min(DRAWN, max(sizes)))]
    each = (time.process_time() - start) / len(described)
    features = sum(map(len, described)) / len(described)
    print(f"{features:.0f} features a photo, described in {1000 * each:.1f} ms of one core\n")
    print("| photos | candidates, s | pairs | found | verification, s | nearest, s | peak MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for count in sorted(sizes):
        order = np.random.default_rng(1).permutation(count)
        photos = Copies(described[:count], order)
        pairs, searched = called(candidates.find, photos)
        _, sampled = called(candidates.nearest, photos, np.arange(count), np.arange(SAMPLE), NEAREST)
        start = time.perf_counter()
        for left, right, _ in pairs[:: -(-len(pairs) // COMPARED)].tolist():
            if (matrix := align(photos[left], photos[right])) is not None:
                kind(compare(cloud(order[left]), cloud(order[right]), matrix), False, 0.92)
        verified = (time.perf_counter() - start) * max(1, len(pairs) / COMPARED)
        low, high = np.sort(order[pairs[:, :2]], axis=1).T
        planted = np.sum((high % EVERY == EVERY - 1) & (low == high - 1))
        print(
            f"| {count:,} | {searched.seconds:.1f} | {len(pairs):,} | {planted / (count // EVERY):.4f} "
            f"| {verified:.1f} | {sampled.seconds:.1f} | {searched.megabytes:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
