"""Find copies of one photo among many: resized, re-encoded, brightened, mirrored, or with a mask pasted on the face.

A fingerprint holds a perceptual hash of the whole photo and of its upper and lower part: a pasted mask changes one of
them and leaves another. The hash is pHash [1]_ without its median: the signs of the lowest frequencies of the cosine
transform. Brightness and contrast leave signs as they are, and a mirror turns just those of odd horizontal frequencies.

Photos are copies if the hashes of a part, or of its mirror image, differ in few bits. Such pairs are sought as in
multi-index hashing [2]_: hashes that differ in few bits agree in some 16-bit word, so only neighbours in tables sorted
by a word are compared, never all pairs. With distances above 15 bits this is no longer certain, only very likely.

.. [1] C. Zauner, "Implementation and benchmarking of perceptual image hash functions", thesis, Hagenberg, 2010.
.. [2] M. Norouzi, A. Punjani, D. J. Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIDE = 64
PARTS = slice(0, 64), slice(0, 26), slice(38, 64)  # rows; 26 end above the nose of a face that fills the photo
FREQUENCIES = 16
BITS = FREQUENCIES**2
FLAT = 2.0  # grey levels; below this deviation a part shows noise, whose signs mean nothing
MIRROR = np.uint16(0x5555)  # every other bit: the odd horizontal frequencies
WINDOW = 128


def fingerprint(image: Image.Image) -> np.ndarray:
    """Hash a photo and its parts.

    Parameters
    ----------
    image : Image
        Of any size; one decoded with `at_least=SIDE` has the same fingerprint but for a few bits.

    Returns
    -------
    ndarray (parts, 16), uint16
        A word holds the signs of one vertical frequency. A part without contrast is all zero.
    """
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    signs = np.zeros((len(PARTS), FREQUENCIES, FREQUENCIES), bool)
    for part, rows in enumerate(PARTS):
        if grey[rows].std() >= FLAT:
            signs[part] = dctn(grey[rows], norm="ortho")[:FREQUENCIES, :FREQUENCIES] > 0
    return np.packbits(signs, axis=2).view(np.uint16)[:, :, 0]


def groups(fingerprints: np.ndarray, distance: int) -> np.ndarray:
    """Number photos so that copies, and copies of copies, have the same number.

    Which photos have the same number does not depend on their order, but the numbers do. A photo
    without any contrast is nobody's copy.

    Parameters
    ----------
    fingerprints : ndarray (n, parts, 16), uint16
    distance : int
        Hashes of copies differ in at most so many of `BITS`. Unrelated photos differ in about half.

    Returns
    -------
    ndarray (n,), int32
    """
    numbers = np.arange(len(fingerprints), dtype=np.int32)
    for part in range(len(PARTS)):
        photos = np.flatnonzero(fingerprints[:, part].any(axis=1))
        words = fingerprints[photos, part]
        words, photos = np.concatenate([words, words ^ MIRROR]), np.tile(photos, 2)
        order = np.lexsort(words.T[::-1])  # from here on, the order of the photos is forgotten
        words, photos = words[order], photos[order]
        hashes = words.view(np.uint64)
        for left, right in neighbours(words):
            apart = numbers[photos[left]] != numbers[photos[right]]
            left, right = left[apart], right[apart]
            close = np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1) <= distance
            if close.any():
                numbers = join(numbers, photos[left[close]], photos[right[close]])
    return numbers


def neighbours(words: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of hashes that agree in a word.

    Where many hashes share a word, each meets only the `WINDOW` next in the table, so that the cost
    stays linear whatever the photos are; copies still meet by another word or through each other.

    Parameters
    ----------
    words : ndarray (n, 16), uint16
        Hashes, sorted.

    Yields
    ------
    left, right : ndarray (pairs,), int
        Rows of `words`.
    """
    for word in words.T:
        order = np.argsort(word, kind="stable")
        table, left = word[order], np.arange(len(order))
        for step in range(1, WINDOW + 1):
            left = left[: np.searchsorted(left, len(table) - step)]
            left = left[table[left] == table[left + step]]
            if not left.size:
                break
            yield order[left], order[left + step]


def join(numbers: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Give the group of each left photo and the group of its right photo one number."""
    edges = coo_array((np.ones(len(left), bool), (numbers[left], numbers[right])), shape=(len(numbers),) * 2)
    return connected_components(edges, directed=False)[1][numbers]


def merged(*numberings: np.ndarray) -> np.ndarray:
    """Number photos so that those which share a number in any numbering share one here.

    Parameters
    ----------
    numberings : ndarrays (n,), int
        Each from 0 up to less than n.

    Returns
    -------
    ndarray (n,), int32
    """
    result = numberings[0]
    for numbering in numberings[1:]:
        _, first, which = np.unique(numbering, return_index=True, return_inverse=True)
        result = join(result, np.arange(len(result)), first[which])
    return result
