"""Which photos to compare: those that share features, found through one sorted table."""

from collections.abc import Sequence

import numpy as np

from facemask.data.near_duplicates.features import FEATURE, HALF, mirrored

LEAST_BITS, SPARE = 20, 2  # bits of a key: more than would number all entries, so few are equal by chance
NEXT = 4  # entries of the sorted table that each one meets
RARE = 32  # entries that a key may have for a shared feature to count twice
SHARED = 4  # counts of a candidate whose features are turned and scaled alike: ...
SECTORS, OCTAVES = 8, 32  # ... in one of so many sectors of the circle and one octave, or halfway between two
PHOTOS_A_PASS = 10_000


def find(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of photos, or of a photo and another's mirror image, that share features turned and scaled alike.

    Every feature stands in a sorted table by a key from either half of its code. It meets the `NEXT` entries with the
    same key, so the cost stays linear however often a photo is there; photos of a large group meet through each other.
    As in image retrieval, a feature of few photos counts more than one of many [4]_, and only features that agree on
    rotation and scale count together [5]_.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
        Which pairs are found may depend on their order if more than `NEXT` photos share a feature.

    Returns
    -------
    ndarray (pairs, 3), int
        Left photo, right photo, whether the right one is mirrored; sorted, left before right.
    """
    count, features = len(photos), np.concatenate([np.empty(0, FEATURE), *photos])
    keys, entries = sorted_keys(features["code"])
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    rare = np.repeat(np.diff(first, append=len(keys)) <= RARE, np.diff(first, append=len(keys)))
    halves = entries >= len(features)
    entries %= np.uint32(max(1, len(features)))
    owners = np.repeat(np.arange(count, dtype=np.uint32), [len(found) for found in photos])[entries]
    angles, sizes = features["angle"][entries], np.log2(features["size"])[entries]
    del features, entries
    pairs = [np.empty((0, 3), np.int64)]
    for start in range(0, count, PHOTOS_A_PASS):
        votes = []
        for step in range(1, NEXT + 1):
            here = np.flatnonzero(keys[:-step] == keys[step:])
            first = np.minimum(owners[here], owners[here + step])
            here = here[(first >= start) & (first < start + PHOTOS_A_PASS) & (owners[here] != owners[here + step])]
            swapped = owners[here] > owners[here + step]
            left, right = np.where(swapped, here + step, here), np.where(swapped, here, here + step)
            flip = halves[left] != halves[right]
            turned = np.where(flip, 180 - angles[right].astype(np.float32), angles[right]) - angles[left]
            scaled = sizes[right].astype(np.float32) - sizes[left]
            pair = (owners[left].astype(np.int64) * count + owners[right]) * 2 + flip
            for shift in range(4):
                sector = np.floor(turned * (SECTORS / 360) + shift % 2 / 2).astype(np.int64) % SECTORS
                octave = np.floor(scaled + shift // 2 / 2).astype(np.int64) % OCTAVES
                vote = ((pair * 4 + shift) * SECTORS + sector) * OCTAVES + octave
                votes += [vote, vote[rare[here]]]
        agreeing, shared = np.unique(np.concatenate(votes), return_counts=True)
        which = np.unique(agreeing[shared >= SHARED] // (4 * SECTORS * OCTAVES))
        pairs.append(np.stack([which // 2 // count, which // 2 % count, which % 2], axis=1))
    return np.concatenate(pairs)


def sorted_keys(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys of both halves of all codes in order, and where each is from: uint32, the second halves after the first.

    Both are sorted in one array, which takes half the memory of `argsort`.
    """
    bits = min(32, max(LEAST_BITS, (2 * len(codes)).bit_length() + SPARE))
    table = np.concatenate([codes, codes >> HALF])
    table <<= np.uint64(64 - bits)
    table >>= np.uint64(32 - bits)
    table |= np.arange(len(table), dtype=np.uint64)
    table.sort()
    return (table >> HALF).astype(np.uint32), table.astype(np.uint32)


def nearest(photos: Sequence[np.ndarray], sample: int, count: int) -> np.ndarray:
    """For each of the first photos, those that share most features with it, found less quickly but more surely.

    Here a feature is shared where any quarter of its code is equal, and every photo with it counts.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
    sample : int
        For so many photos, ...
    count : int
        ... so many others, each as it is or mirrored.

    Returns
    -------
    ndarray (pairs, 3), int
        As `find` gives them, but with a photo of the sample on the left.
    """
    owners = np.repeat(np.arange(len(photos), dtype=np.int32), [len(found) for found in photos])
    quarters = np.concatenate([found["code"] for found in photos]).view(np.uint16).reshape(-1, 4).T
    orders = [np.argsort(quarter, kind="stable") for quarter in quarters]
    starts = [
        np.searchsorted(quarter[order], np.arange(2**16 + 1)) for quarter, order in zip(quarters, orders, strict=True)
    ]
    holders = [owners[order] for order in orders]
    pairs = [np.empty((0, 3), np.int64)]
    for photo in range(min(sample, len(photos))):
        votes = np.zeros((len(photos), 2), np.int64)
        for flip, found in enumerate((photos[photo], mirrored(photos[photo]))):
            values = found["code"].copy().view(np.uint16).reshape(-1, 4).T
            for value, start, holder in zip(values, starts, holders, strict=True):
                bounds = zip(start[value], start[value + 1], strict=True)
                shared = np.concatenate([holder[:0], *(holder[first:last] for first, last in bounds)])
                votes[:, flip] += np.bincount(shared, minlength=len(photos))
        votes[photo] = 0
        most = np.argsort(-votes.ravel(), kind="stable")[:count]
        most = most[votes.ravel()[most] > 0]
        pairs.append(np.stack([np.full(len(most), photo), most // 2, most % 2], axis=1))
    return np.concatenate(pairs)
