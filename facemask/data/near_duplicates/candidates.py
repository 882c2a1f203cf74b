"""Which photos to compare: those that share features, found through sorted tables.

Features are on disk, and read once for each range of keys; what a range gives is on disk, too, by photo, until it is
counted. So memory depends on the size of a table, not on the number of photos.
"""

import contextlib
import functools
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from facemask.core import parallel
from facemask.data.near_duplicates.features import FEATURE, HALF, mirrored
from facemask.data.near_duplicates.verification import Limits

BITS = (20, 28)  # the least and the most of a key ...
SPARE = 4  # ... between, so many more than number all entries: few keys are equal by chance
CLOSE = Limits().bits  # in which the codes of one feature may differ
NEXT = 4  # entries of a sorted table that each one meets, and twice as many as have its key by chance
RARE = 32  # entries that a key may have to count twice
SHARED = 6  # equal keys of a candidate, counted so, of features that are turned and scaled alike: ...
SECTORS, OCTAVES = 8, 32  # ... in one of so many sectors of the circle and one octave, or halfway between two
COARSE = 12  # bits of a key by which tables are divided
ENTRIES_A_TABLE = 2**26
ENTRIES_A_BLOCK = 2**20
PHOTOS_A_COUNT, COUNTS = 4_000, 256  # more photos rather than more files that are open at once
PHOTOS_A_SCORE = 20_000
ENTRY = np.dtype([("code", np.uint64), ("photo", np.uint32), ("size", np.float16), ("angle", np.float16)])


class Features(NamedTuple):
    """The features of all photos.

    Attributes
    ----------
    values : ndarray (n,), FEATURE
        Photo by photo.
    ends : ndarray (photos,), int64
        Where those of a photo end.
    """

    values: np.ndarray
    ends: np.ndarray


class Keys(NamedTuple):
    """Which part of a code, and which of its values.

    Attributes
    ----------
    shift, bits : int
        Of either half of the code.
    low, high : int
        The least value, and the one after the greatest.
    """

    shift: int
    bits: int
    low: int
    high: int

    def of(self, codes: np.ndarray, half: int) -> np.ndarray:
        """The values in half a code: ndarray (n,), uint32."""
        return (codes >> np.uint64(32 * half + self.shift)).astype(np.uint32) & np.uint32(2**self.bits - 1)


class Table(NamedTuple):
    """The features whose key is in a range, sorted.

    Attributes
    ----------
    keys : ndarray (n,), uint32
        In ascending order.
    entries : ndarray (n,), ENTRY
        With twice the number of the photo, and 1 more, and the halves of the code exchanged, where the key is of the
        second half.
    rare : ndarray (n,), bool
        Whether few features have this key.
    """

    keys: np.ndarray
    entries: np.ndarray
    rare: np.ndarray


def find(photos: Sequence[np.ndarray]) -> np.ndarray:
    """Pairs of photos, or of a photo and another's mirror image, that share features turned and scaled alike.

    Every feature stands in two sorted tables, by the lower and by the upper bits of either half of its code. It meets
    some entries with the same key, so the cost stays linear however often a photo is there; photos of a large group
    meet through each other. Of those that it meets, the ones count whose whole code is close [4]_. As in image
    retrieval, a feature of few photos counts more than one of many [3]_, and only features that agree on rotation and
    scale count together [4]_.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
        At most 40 million. Which pairs are found may depend on their order if more than `NEXT` photos share a feature.

    Returns
    -------
    ndarray (pairs, 3), int
        Left photo, right photo, whether the right one is mirrored; sorted, left before right.
    """
    firsts = np.arange(0, len(photos), max(PHOTOS_A_COUNT, -(-len(photos) // COUNTS)))
    with contextlib.ExitStack() as stack:
        features = on_disk(photos, stack.enter_context(tempfile.TemporaryFile()))
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in firsts]
        for left, votes in met(features):
            places = np.searchsorted(left, firsts)[1:]
            for file, part in zip(files, np.split(votes, places), strict=True):
                file.write(part.data)
        found = list(parallel.in_order(counted, files, parallel.cores()))
    which = np.concatenate([np.empty(0, np.int64), *found])
    return np.stack([which // 2 // max(1, len(photos)), which // 2 % max(1, len(photos)), which % 2], axis=1)


def on_disk(photos: Sequence[np.ndarray], file: IO[bytes]) -> Features:
    """Write the features of photos to a file, and map it into memory."""
    counts = np.zeros(len(photos), np.int64)
    for photo, found in enumerate(photos):
        counts[photo] = len(found)
        file.write(np.ascontiguousarray(found, FEATURE).data)
    file.flush()
    ends = np.cumsum(counts)
    values = np.memmap(file, FEATURE, "r") if counts.any() else np.empty(0, FEATURE)
    return Features(values, ends)


def met(features: Features) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The votes of all features, as `meet` gives them, table by table."""
    count, photos = 2 * len(features.values), len(features.ends)
    bits = int(np.clip(count.bit_length() + SPARE, *BITS))
    steps = range(1, NEXT + round(2 * count / 2**bits) + 1)
    for chosen, size in ranges(features, bits):
        blocks = itertools.product(range(0, size, ENTRIES_A_BLOCK), steps)
        task = functools.partial(meet, table(features, chosen, size), photos)
        yield from parallel.in_order(task, blocks, parallel.cores())
        del task  # or there would be two tables at a time


def ranges(features: Features, bits: int) -> Iterator[tuple[Keys, int]]:
    """The keys of each table, and how many features have them: of lower bits, then of upper ones."""
    starts = range(0, len(features.values), ENTRIES_A_BLOCK)

    def count(place: tuple[int, int]) -> np.ndarray:
        start, half = place
        keys = Keys(shift, bits, 0, 2**bits).of(features.values["code"][start : start + ENTRIES_A_BLOCK], half)
        return np.bincount(keys >> np.uint32(bits - COARSE), minlength=2**COARSE)

    for shift in (0, 32 - bits):
        counts = sum(parallel.in_order(count, itertools.product(starts, (0, 1)), parallel.cores()), np.zeros(1, int))
        parts = np.cumsum(counts) // ENTRIES_A_TABLE
        ends = np.flatnonzero(np.diff(parts, append=parts[-1] + 1)) + 1
        for low, high in itertools.pairwise([0, *ends.tolist()]):
            yield Keys(shift, bits, low << (bits - COARSE), high << (bits - COARSE)), int(counts[low:high].sum())


def table(features: Features, chosen: Keys, count: int) -> Table:
    """Sort the features with some keys, equal ones by their half and their number."""
    keys, entries, filled = np.empty(count, np.uint32), np.empty(count, ENTRY), 0

    def read(place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        half, start = place
        values = features.values[start : start + ENTRIES_A_BLOCK]
        keys = chosen.of(values["code"], half)
        here = np.flatnonzero((keys >= chosen.low) & (keys < chosen.high))
        values, entries = values[here], np.empty(len(here), ENTRY)
        entries["code"] = values["code"] << HALF | values["code"] >> HALF if half else values["code"]
        entries["photo"] = 2 * np.searchsorted(features.ends, start + here, side="right") + half
        entries["size"], entries["angle"] = values["size"], values["angle"]
        return keys[here], entries

    places = itertools.product((0, 1), range(0, len(features.values), ENTRIES_A_BLOCK))
    for some_keys, some in parallel.in_order(read, places, parallel.cores()):
        stop = filled + len(some)
        keys[filled:stop], entries[filled:stop], filled = some_keys, some, stop
    order = keys.astype(np.uint64) << HALF
    order |= np.arange(count, dtype=np.uint64)
    order.sort()  # as one number they take half the memory of argsort
    keys, entries = (order >> HALF).astype(np.uint32), entries[order.astype(np.uint32)]
    first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    equal = np.diff(first, append=count)
    return Table(keys, entries, np.repeat(equal <= RARE, equal))


def meet(table: Table, photos: int, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Some entries of a table and those some steps on, if they have the same key, are close, and of two photos.

    Parameters
    ----------
    place : (start, step)
        The first entry, and how many steps on.

    Returns
    -------
    (left, votes) : ndarray (n,), int64
        The photo with the lower number, ascending; and a number that stands for the pair, whether one is mirrored, by
        how many half sectors and half octaves the features differ, and whether their key is rare.
    """
    start, step = place
    stop = max(start, min(start + ENTRIES_A_BLOCK, len(table.keys) - step))
    here, there = slice(start, stop), slice(start + step, stop + step)
    alike = table.keys[here] == table.keys[there]
    alike &= np.bitwise_count(table.entries["code"][here] ^ table.entries["code"][there]) <= CLOSE
    which = np.flatnonzero(alike)
    one, two, rare = table.entries[here][which], table.entries[there][which], table.rare[here][which]
    other = one["photo"] // 2 != two["photo"] // 2
    one, two, rare = one[other], two[other], rare[other]
    swapped = one["photo"] > two["photo"]
    one, two = np.where(swapped, two, one), np.where(swapped, one, two)
    left, right = (entry["photo"].astype(np.int64) // 2 for entry in (one, two))
    flip = one["photo"] % 2 != two["photo"] % 2
    turned = np.where(flip, 180 - two["angle"].astype(np.float32), two["angle"]) - one["angle"]
    scaled = np.log2(two["size"].astype(np.float32)) - np.log2(one["size"].astype(np.float32))
    vote = (left * photos + right) * 2 + flip
    vote = vote * (2 * SECTORS) + np.floor(turned * (2 * SECTORS / 360)).astype(np.int64) % (2 * SECTORS)
    vote = vote * (2 * OCTAVES) + np.floor(scaled * 2).astype(np.int64) % (2 * OCTAVES)
    vote = vote * 2 + rare
    vote.sort()
    return vote // (8 * SECTORS * OCTAVES * 2 * photos), vote


def counted(file: IO[bytes]) -> np.ndarray:
    """The pairs for which the votes in a file are enough, as `agreeing` gives them."""
    file.seek(0)
    return agreeing(np.fromfile(file, np.int64))


def agreeing(votes: np.ndarray) -> np.ndarray:
    """The pairs with `SHARED` votes for one sector and octave, (left * photos + right) * 2 + mirrored, ascending.

    Rare features vote twice, and all of them in two ways to divide the circle and the octaves each.
    """
    _, pairs, counts = np.unique(votes // (8 * SECTORS * OCTAVES), return_inverse=True, return_counts=True)
    votes = votes[counts[pairs] >= SHARED / 2]  # most pairs meet once
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


def nearest(photos: Sequence[np.ndarray], groups: np.ndarray, sample: np.ndarray, count: int) -> np.ndarray:
    """For some photos, those of other groups that share most features, found less quickly but more surely.

    Here a feature is shared where any quarter of its code is equal, and every photo with it counts.

    Parameters
    ----------
    photos : sequence of ndarray (n,), FEATURE
    groups : ndarray (photos,), int
        Equal for photos that are known to be near-duplicates.
    sample : ndarray (n,), int
        For the photos with these numbers ...
    count : int
        ... so many others, each as it is or mirrored.

    Returns
    -------
    ndarray (pairs, 3), int
        As `find` gives them, but with a photo of the sample on the left.
    """
    best = np.zeros((len(sample), count), np.int64)
    for start in range(0, len(photos), PHOTOS_A_SCORE):
        block = photos[start : start + PHOTOS_A_SCORE]
        tables = by_quarter(block)
        later = 2 * (len(photos) - start) - np.arange(2 * len(block))  # more for an earlier photo, at least 1
        for photo, ranks in zip(sample, best, strict=True):
            votes = np.stack([shared(one, tables, len(block)) for one in (photos[photo], mirrored(photos[photo]))], 1)
            votes[groups[start : start + len(block)] == groups[photo]] = 0
            both = votes.ravel() * (2 * len(photos) + 1) + np.where(votes.ravel(), later, 0)
            ranks[:] = np.partition(np.concatenate([ranks, both]), -count)[-count:]
    pairs = [np.empty((0, 3), np.int64)]
    for photo, ranks in zip(sample, -np.sort(-best, axis=1), strict=True):
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
