"""Which photos to compare: those that share features, found through one sorted table."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from facemask.data.near_duplicates.features import FEATURE, HALF, mirrored

BITS = (20, 28)  # the least and the most of a key ...
SPARE = 4  # ... between, so many more than number all entries: few keys are equal by chance
NEXT = 4  # entries of a sorted table that each one meets
RARE = 32  # entries that a key may have to count twice
SHARED = 6  # equal keys of a candidate, counted so, of features that are turned and scaled alike: ...
SECTORS, OCTAVES = 8, 32  # ... in one of so many sectors of the circle and one octave, or halfway between two
PHOTOS_A_PASS = 4_000


class Table(NamedTuple):
    """The features of all photos, sorted by a part of either half of their codes.

    Attributes
    ----------
    keys : ndarray (2 * features,), uint32
        In ascending order.
    entries : ndarray (2 * features,), uint32
        The number of the feature; that of a second half is larger by the number of features.
    rare : ndarray (2 * features,), bool
        Whether few features have this key.
    """

    keys: np.ndarray
    entries: np.ndarray
    rare: np.ndarray


def find(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of photos, or of a photo and another's mirror image, that share features turned and scaled alike.

    Every feature stands in two sorted tables, by the lower and by the upper bits of either half of its code. It meets
    the `NEXT` entries with the same key, so the cost stays linear however often a photo is there; photos of a large
    group meet through each other. As in image retrieval, a feature of few photos counts more than one of many [3]_,
    and only features that agree on rotation and scale count together [4]_.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
        Which pairs are found may depend on their order if more than `NEXT` photos share a feature.

    Returns
    -------
    ndarray (pairs, 3), int
        Left photo, right photo, whether the right one is mirrored; sorted, left before right.
    """
    features = np.concatenate([np.empty(0, FEATURE), *photos])
    owners = np.repeat(np.arange(len(photos), dtype=np.int64), [len(found) for found in photos])
    tables = [sorted_by_key(features["code"], upper) for upper in (False, True)]
    pairs = [np.empty((0, 3), np.int64)]
    for start in range(0, len(photos), PHOTOS_A_PASS):
        steps = itertools.product(tables, range(1, NEXT + 1))
        votes = [vote for one, step in steps for vote in meet(one, step, features, owners, len(photos), start)]
        agreeing, shared = np.unique(np.concatenate(votes), return_counts=True)
        which = np.unique(agreeing[shared >= SHARED] // (4 * SECTORS * OCTAVES))
        pairs.append(np.stack([which // 2 // len(photos), which // 2 % len(photos), which % 2], axis=1))
    return np.concatenate(pairs)


def sorted_by_key(codes: np.ndarray, upper: bool) -> Table:
    """Sort the features by the lower or the upper bits of the halves of their codes."""
    bits = np.clip((2 * len(codes)).bit_length() + SPARE, *BITS)
    halves = np.concatenate([codes, codes >> HALF])
    if upper:
        halves >>= np.uint64(32 - bits)
    halves &= np.uint64(2**bits - 1)
    halves <<= HALF
    halves |= np.arange(len(halves), dtype=np.uint64)
    halves.sort()  # keys and entries as one number take half the memory of argsort
    keys, entries = (halves >> HALF).astype(np.uint32), halves.astype(np.uint32)
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    equal = np.diff(first, append=len(keys))
    return Table(keys, entries, np.repeat(equal <= RARE, equal))


def meet(
    table: Table, step: int, features: np.ndarray, owners: np.ndarray, count: int, start: int
) -> Iterator[np.ndarray]:
    """Votes of every entry of a table for a pair with the entry so many steps on, if both have the same key.

    A vote is a number that stands for the pair, whether one is mirrored, a sector of the circle and an octave. Rare
    features vote twice, and all of them in two ways to divide the circle and the octaves each. Only pairs whose left
    photo is one of `PHOTOS_A_PASS` from `start` on.
    """
    entries = table.entries % np.uint32(max(1, len(features)))
    here = np.flatnonzero(table.keys[:-step] == table.keys[step:])
    first = np.minimum(owners[entries[here]], owners[entries[here + step]])
    other = owners[entries[here]] != owners[entries[here + step]]
    here = here[other & (first >= start) & (first < start + PHOTOS_A_PASS)]
    rare, swapped = table.rare[here], owners[entries[here]] > owners[entries[here + step]]
    left, right = np.where(swapped, here + step, here), np.where(swapped, here, here + step)
    flip = (table.entries[left] >= len(features)) != (table.entries[right] >= len(features))
    one, two = features[entries[left]], features[entries[right]]
    turned = np.where(flip, 180 - two["angle"].astype(np.float32), two["angle"]) - one["angle"]
    scaled = np.log2(two["size"].astype(np.float32)) - np.log2(one["size"].astype(np.float32))
    pair = (owners[entries[left]] * count + owners[entries[right]]) * 2 + flip
    for half_sector, half_octave in itertools.product((0, 1), repeat=2):
        sector = np.floor(turned * (SECTORS / 360) + half_sector / 2).astype(np.int64) % SECTORS
        octave = np.floor(scaled + half_octave / 2).astype(np.int64) % OCTAVES
        vote = (((pair * 2 + half_sector) * 2 + half_octave) * SECTORS + sector) * OCTAVES + octave
        yield vote
        yield vote[rare]


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
            values = found["code"].copy().view(np.uint16).reshape(-1, 4).T.astype(int)
            for value, start, holder in zip(values, starts, holders, strict=True):
                bounds = zip(start[value], start[value + 1], strict=True)
                shared = np.concatenate([holder[:0], *(holder[first:last] for first, last in bounds)])
                votes[:, flip] += np.bincount(shared, minlength=len(photos))
        votes[photo] = 0
        most = np.argsort(-votes.ravel(), kind="stable")[:count]
        most = most[votes.ravel()[most] > 0]
        pairs.append(np.stack([np.full(len(most), photo), most // 2, most % 2], axis=1))
    return np.concatenate(pairs)
