"""Cost of the search for near-duplicates by the number of photos: python -m benchmarks.near_duplicates [PHOTOS ...]

Photos are random coloured clouds; every tenth is another, rotated by 10 degrees and cropped. The first 10,000 are drawn
and described. More are copies of their features, all codes of a copy changed by the same random bits, so that it shares
none with the others but by chance and what was planted in it is as far apart as in the photos. In random order. Prints
the time of each step on one core, that of verification from a sample of the pairs, and the recall of what was planted.
"""

import argparse
import resource
import time

import numpy as np
from PIL import Image

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


def copied(described: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The features of so many photos: those described, and copies of them with other codes."""
    photos, rng = [], np.random.default_rng(0)
    for number in range(count):
        if number % len(described) == 0:
            word = rng.integers(0, 2**64, dtype=np.uint64) if number else np.uint64(0)
        photo = described[number % len(described)].copy()
        photo["code"] ^= word
        photos.append(photo)
    return photos


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
        photos = copied(described[:count], count)
        photos = [photos[number] for number in order]
        start = time.process_time()
        pairs = candidates.find(photos)
        searched = time.process_time() - start
        start = time.process_time()
        candidates.nearest(photos, SAMPLE, NEAREST)
        sampled = time.process_time() - start
        start = time.process_time()
        for left, right, _ in pairs[:: -(-len(pairs) // COMPARED)].tolist():
            if (matrix := align(photos[left], photos[right])) is not None:
                kind(compare(cloud(order[left]), cloud(order[right]), matrix), False, 0.92)
        verified = (time.process_time() - start) * max(1, len(pairs) / COMPARED)
        low, high = np.sort(order[pairs[:, :2]], axis=1).T
        planted = np.sum((high % EVERY == EVERY - 1) & (low == high - 1))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {count:,} | {searched:.1f} | {len(pairs):,} | {planted / (count // EVERY):.4f} | {verified:.1f} "
            f"| {sampled:.1f} | {peak:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
