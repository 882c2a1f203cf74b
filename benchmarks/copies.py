"""What the search for copies costs as a collection grows: python -m benchmarks.copies

Photos are coloured clouds, each unlike the others; every tenth is the mirror image of one, so that there is something
to find.
"""

import resource
import time

import numpy as np
from PIL import Image, ImageOps

from facemask.data.near_duplicates import fingerprint, groups

SIDE = 64
SIZES = (1_000, 5_000, 20_000, 100_000)
DISTANCE = 32


def collection(count: int) -> list[np.ndarray]:
    """Fingerprints of so many photos."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < count:
        cloud = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        found.append(fingerprint(cloud))
        if len(found) % 10 == 9:
            found.append(fingerprint(ImageOps.mirror(cloud)))
    return found[:count]


def main() -> None:
    start = time.perf_counter()
    everything = np.stack(collection(SIZES[-1]))
    each = (time.perf_counter() - start) / SIZES[-1]
    print(f"drawing and fingerprint: {1000 * each:.2f} ms a photo")
    print(f"{'photos':>8} {'groups':>8} {'seconds':>8} {'ms/photo':>9} {'peak MB':>8}")
    for count in SIZES:
        start = time.perf_counter()
        numbers = groups(everything[:count], DISTANCE)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count:8,} {len(np.unique(numbers)):8,} {seconds:8.2f} {1000 * seconds / count:9.4f} {peak:8.0f}")


if __name__ == "__main__":
    main()
