"""Cost of the search for near-duplicates by the number of photos: python -m benchmarks.near_duplicates [PHOTOS ...]

Photos are random coloured clouds; every tenth is the one before, rotated by 10 degrees and cropped. Prints the time of
each step on one core, and the recall of those pairs.
"""

import argparse
import resource
import time

import numpy as np
from PIL import Image

from facemask.data.near_duplicates import candidates
from facemask.data.near_duplicates.features import extract, grey
from facemask.data.near_duplicates.verification import align, compare, kind

SIZES = (1_000, 5_000, 20_000, 100_000)
COMPARED = 1_000  # candidates, from which the time of all is extrapolated


def cloud(number: int) -> np.ndarray:
    """A photo in grey; every tenth is the one before, edited."""
    edited = number % 10 == 9
    pixels = np.random.default_rng(number - edited).integers(0, 256, (16, 16, 3), np.uint8)
    image = Image.fromarray(pixels).resize((128, 128), Image.Resampling.BICUBIC)
    return grey(image.rotate(10).crop((10, 20, 110, 120)) if edited else image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=int, nargs="*", default=SIZES)
    sizes = parser.parse_args().photos
    print("| photos | features, s | candidates, s | pairs | verification, s | found | peak MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    found, described = [], 0.0
    for count in sorted(sizes):
        start = time.process_time()
        found += [extract(cloud(number)) for number in range(len(found), count)]
        described += time.process_time() - start
        start = time.process_time()
        pairs = candidates.find(found)
        searched = time.process_time() - start
        start = time.process_time()
        for left, right, _ in pairs[:: -(-len(pairs) // COMPARED)].tolist():
            if (matrix := align(found[left], found[right])) is not None:
                kind(compare(cloud(left), cloud(right), matrix), False, 0.92)
        verified = (time.process_time() - start) * max(1, len(pairs) / COMPARED)
        edited = pairs[(pairs[:, 1] % 10 == 9) & (pairs[:, 0] == pairs[:, 1] - 1)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {count:,} | {described:.1f} | {searched:.1f} | {len(pairs):,} | {verified:.1f} "
            f"| {len(edited) / (count // 10):.3f} | {peak:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
