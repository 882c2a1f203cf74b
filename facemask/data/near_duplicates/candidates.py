"""Which photos to compare: those that share features, found through sorted tables.

Tables are made for one range of keys after the other, and what they give is on disk, by photo, until it is counted. So
memory grows with the features alone.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from facemask.data.near_duplicates.features import FEATURE, HALF, mirrored

BITS = (20, 28)  # the least and the most of a key ...
SPARE = 4  # ... between, so many more than number all entries: few keys are equal by chance
COARSE = 12  # bits of a key by which tables are divided
NEXT = 4  # entries of a sorted table that each one meets
RARE = 32  # entries that a key may have to count twice
SHARED = 6  # equal keys of a candidate, counted so, of features that are turned and scaled alike: ...
SECTORS, OCTAVES = 8, 32  # ... in one of so many sectors of the circle and one octave, or halfway between two
ENTRIES_A_TABLE = 2**26
ENTRIES_A_BLOCK = 2**22
PHOTOS_A_COUNT, COUNTS = 4_000, 256  # more photos rather than more files that are open at once
PHOTOS_A_SCORE = 20_000


class Table(NamedTuple):
    """The features whose key is in a range: parts of the halves of their codes, sorted.

    Attributes
    ----------
    keys : ndarray (n,), uint32
        In ascending order.
    entries : ndarray (n,), uint32
        The number of the feature; that of a second half is larger by the number of features.
    rare : ndarray (n,), bool
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
    owners = np.repeat(np.arange(len(photos), dtype=np.uint32), [len(found) for found in photos])
    firsts = np.arange(0, len(photos), max(PHOTOS_A_COUNT, -(-len(photos) // COUNTS)))
    pairs = [np.empty((0, 3), np.int64)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in firsts]
        for table, step in itertools.product(tables(features["code"]), range(1, NEXT + 1)):
            for left, votes in meet(table, step, features, owners, len(photos)):
                places = np.searchsorted(left, firsts)[1:]
                for file, part in zip(files, np.split(votes, places), strict=True):
                    file.write(part.data)
        for file in files:
            file.seek(0)
            which = agreeing(np.fromfile(file, np.int64))
            pairs.append(np.stack([which // 2 // len(photos), which // 2 % len(photos), which % 2], axis=1))
    return np.concatenate(pairs)


def tables(codes: np.ndarray) -> Iterator[Table]:
    """Sort the features by the lower, then by the upper bits of the halves of their codes, range by range of keys."""
    bits = int(np.clip((2 * len(codes)).bit_length() + SPARE, *BITS))
    for shift in (0, 32 - bits):
        keys = np.concatenate([(codes >> np.uint64(place + shift)).astype(np.uint32) for place in (0, 32)])
        keys &= np.uint32(2**bits - 1)
        parts = np.cumsum(np.bincount(keys >> np.uint32(bits - COARSE), minlength=2**COARSE)) // ENTRIES_A_TABLE
        ends = np.flatnonzero(np.diff(parts, append=parts[-1] + 1)) + 1
        for low, high in itertools.pairwise([0, *(ends << (bits - COARSE)).tolist()]):
            entries = np.flatnonzero((keys >= low) & (keys < high))
            yield sorted_by_key(keys[entries], entries)


def sorted_by_key(keys: np.ndarray, entries: np.ndarray) -> Table:
    """Sort entries by their keys, equal ones by their numbers."""
    both = keys.astype(np.uint64) << HALF
    both |= entries.astype(np.uint64)
    both.sort()  # as one number they take half the memory of argsort
    keys, entries = (both >> HALF).astype(np.uint32), both.astype(np.uint32)
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    equal = np.diff(first, append=len(keys))
    return Table(keys, entries, np.repeat(equal <= RARE, equal))


def meet(
    table: Table, step: int, features: np.ndarray, owners: np.ndarray, photos: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every entry of a table and the one so many steps on, if both have the same key and are of two photos.

    Yields
    ------
    (left, votes) : ndarray (n,), int64
        The photo with the lower number, ascending; and a number that stands for the pair, whether one is mirrored, by
        how many half sectors and half octaves the features differ, and whether their key is rare.
    """
    numbers = np.uint32(max(1, len(features)))
    for start in range(0, len(table.keys) - step, ENTRIES_A_BLOCK):
        stop = min(start + ENTRIES_A_BLOCK, len(table.keys) - step)
        here = start + np.flatnonzero(table.keys[start:stop] == table.keys[start + step : stop + step])
        one, two = table.entries[here], table.entries[here + step]
        flip = (one >= numbers) != (two >= numbers)
        one, two = one % numbers, two % numbers
        other = owners[one] != owners[two]
        one, two, flip, rare = one[other], two[other], flip[other], table.rare[here[other]]
        swapped = owners[one] > owners[two]
        one, two = np.where(swapped, two, one), np.where(swapped, one, two)
        left, right = owners[one].astype(np.int64), owners[two].astype(np.int64)
        one, two = features[one], features[two]
        turned = np.where(flip, 180 - two["angle"].astype(np.float32), two["angle"]) - one["angle"]
        scaled = np.log2(two["size"].astype(np.float32)) - np.log2(one["size"].astype(np.float32))
        vote = (left * photos + right) * 2 + flip
        vote = vote * (2 * SECTORS) + np.floor(turned * (2 * SECTORS / 360)).astype(np.int64) % (2 * SECTORS)
        vote = vote * (2 * OCTAVES) + np.floor(scaled * 2).astype(np.int64) % (2 * OCTAVES)
        vote = vote * 2 + rare
        vote.sort()
        yield vote // (8 * SECTORS * OCTAVES * 2 * photos), vote


def agreeing(votes: np.ndarray) -> np.ndarray:
    """The pairs with `SHARED` votes for one sector and octave, (left * photos + right) * 2 + mirrored, ascending.

    Rare features vote twice, and all of them in two ways to divide the circle and the octaves each.
    """
    rare = votes % 2 == 1
    pair, half_octave = np.divmod(votes // 2, 2 * OCTAVES)
    pair, half_sector = np.divmod(pair, 2 * SECTORS)
    found = [pair[:0]]
    for sector, octave in itertools.product((0, 1), repeat=2):
        cell = (half_sector + sector) // 2 % SECTORS * OCTAVES + (half_octave + octave) // 2 % OCTAVES
        cell += pair * (SECTORS * OCTAVES)
        cells, counts = np.unique(np.concatenate([cell, cell[rare]]), return_counts=True)
        found.append(cells[counts >= SHARED] // (SECTORS * OCTAVES))
    return np.unique(np.concatenate(found))


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
    best = np.zeros((min(sample, len(photos)), count), np.int64)
    for start in range(0, len(photos), PHOTOS_A_SCORE):
        block = photos[start : start + PHOTOS_A_SCORE]
        tables = by_quarter(block)
        later = 2 * (len(photos) - start) - np.arange(2 * len(block))  # more for an earlier photo, at least 1
        for photo, ranks in enumerate(best):
            votes = np.stack([shared(one, tables, len(block)) for one in (photos[photo], mirrored(photos[photo]))], 1)
            if start <= photo < start + len(block):
                votes[photo - start] = 0
            both = votes.ravel() * (2 * len(photos) + 1) + np.where(votes.ravel(), later, 0)
            ranks[:] = np.partition(np.concatenate([ranks, both]), -count)[-count:]
    pairs = [np.empty((0, 3), np.int64)]
    for photo, ranks in enumerate(-np.sort(-best, axis=1)):
        other = 2 * len(photos) - ranks[ranks > 0] % (2 * len(photos) + 1)
        pairs.append(np.stack([np.full(len(other), photo), other // 2, other % 2], axis=1))
    return np.concatenate(pairs)


def by_quarter(photos: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each quarter of the codes: the photos of the features, by its value, and where each value begins."""
    owners = np.repeat(np.arange(len(photos), dtype=np.int32), [len(found) for found in photos])
    quarters = np.concatenate([found["code"] for found in photos]).view(np.uint16).reshape(-1, 4).T
    orders = [np.argsort(quarter, kind="stable") for quarter in quarters]
    return [
        (owners[order], np.searchsorted(quarter[order], np.arange(2**16 + 1)))
        for quarter, order in zip(quarters, orders, strict=True)
    ]


def shared(found: np.ndarray, tables: list[tuple[np.ndarray, np.ndarray]], photos: int) -> np.ndarray:
    """How many quarters of the codes of some features are those of each photo: ndarray (photos,), int64."""
    votes = np.zeros(photos, np.int64)
    for (owners, starts), value in zip(tables, found["code"].copy().view(np.uint16).reshape(-1, 4).T, strict=True):
        bounds = zip(starts[value], starts[value.astype(int) + 1], strict=True)
        votes += np.bincount(np.concatenate([owners[:0], *(owners[i:j] for i, j in bounds)]), minlength=photos)
    return votes
