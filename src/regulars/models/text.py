"""Texts to counts: words and character n-grams, Chinese and Latin alike, without a dictionary.

Runs of letters and digits are words, with n-grams of 3 and 4 characters that may reach one blank beyond them;
Chinese, Japanese and Korean runs give n-grams of 2 and 3, the usual stand-in for segmentation. Features are hashed
into a fixed number of columns (Weinberger et al. 2009), all of it vectorised over code points: no vocabulary to hold.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from regulars.core.arrays import Matrix
from regulars.core.rng import hashes

COLUMNS = 1 << 22
CHUNK = 500_000  # characters turned into features at once, which bounds memory: some 80 MB
BLANK = 32
_OTHER, _LETTER, _IDEOGRAPH = 0, 1, 2
_IDEOGRAPHS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF),
               (0x20000, 0x323AF))  # fmt: skip
Codes = NDArray[np.int64]
_Found = tuple[NDArray[np.int64], NDArray[np.uint64]]


def word_counts(texts: Sequence[str]) -> Matrix:
    """How often each text holds each word, `(n_texts, COLUMNS)`; a lone ideograph is a word."""
    return _in_chunks(texts, _words)


def gram_counts(texts: Sequence[str]) -> Matrix:
    """How often each text holds each character n-gram, `(n_texts, COLUMNS)`."""
    return _in_chunks(texts, _grams)


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut texts where they come to CHUNK characters, blanks around each included; a longer one stands alone."""
    number = np.cumsum([0, *(len(text) + 2 for text in texts)])[:-1] // CHUNK  # of the chunk that a text begins in
    for start, stop in pairwise([*np.flatnonzero(np.diff(number, prepend=-1)).tolist(), len(texts)]):
        yield texts[start:stop]


def _in_chunks(texts: Sequence[str], features: Callable[[_Letters], _Found]) -> Matrix:
    parts = [sp.csr_array((0, COLUMNS), dtype=np.float32)]
    for chunk in chunks(texts):
        owner, hashed = features(_Letters(chunk))
        columns = (hashed >> np.uint64(42)).astype(np.int32)
        cells = (np.ones(len(owner), dtype=np.float32), (owner.astype(np.int32), columns))
        parts.append(sp.coo_array(cells, shape=(len(chunk), COLUMNS)).tocsr())
    counts: Matrix = sp.csr_array(sp.vstack(parts, format="csr"))
    return counts


class _Letters:
    """Texts as one array of code points: whose each is, of what class, and in which run of its class."""

    def __init__(self, texts: Sequence[str]) -> None:
        plain = [f" {unicodedata.normalize('NFKC', text).casefold()} " for text in texts]
        joined = "".join(plain).encode("utf-32-le", errors="replace")
        self.code: Codes = np.frombuffer(joined, dtype=np.uint32).astype(np.int64)
        self.owner: Codes = np.repeat(np.arange(len(plain)), [len(text) for text in plain])
        distinct, place = np.unique(self.code, return_inverse=True)
        self.kind = np.array([_class_of(int(code)) for code in distinct], dtype=np.int8)[place]
        self.code[self.kind == _OTHER] = BLANK
        first = np.ones(len(self.code), dtype=np.bool_)
        first[1:] = (self.kind[1:] != self.kind[:-1]) | (self.owner[1:] != self.owner[:-1])
        self.run = np.cumsum(first) - 1
        self.start = np.flatnonzero(first)


def _class_of(code: int) -> int:
    if any(low <= code <= high for low, high in _IDEOGRAPHS):
        return _IDEOGRAPH
    return _LETTER if chr(code).isalnum() else _OTHER


def _words(letters: _Letters) -> _Found:
    """Owner and hash of every word: a sum over its letters, each hashed with its place in the word."""
    start, run = letters.start, letters.run
    if not len(start):
        return letters.owner, np.zeros(0, dtype=np.uint64)
    lengths = np.diff(np.append(start, len(run)))
    sums = np.add.reduceat(hashes(1, np.arange(len(run)) - start[run], letters.code), start)
    kind = letters.kind[start]
    kept = (kind == _LETTER) | ((kind == _IDEOGRAPH) & (lengths == 1))
    return letters.owner[start][kept], hashes(2, sums.view(np.int64))[kept]


def _grams(letters: _Letters) -> _Found:
    owners, hashed = [], []
    for n, kind in ((3, _LETTER), (4, _LETTER), (2, _IDEOGRAPH), (3, _IDEOGRAPH)):
        starts = _windows(letters, n, kind)
        owners.append(letters.owner[starts])
        hashed.append(hashes(3, *[letters.code[starts + offset] for offset in range(n)]))
    return np.concatenate(owners), np.concatenate(hashed)


def _windows(letters: _Letters, n: int, kind: int) -> Codes:
    """Where n characters of one class begin; letters may have a blank at either end, ideographs may not."""
    size = len(letters.code) - n + 1
    if size <= 0:
        return np.zeros(0, dtype=np.int64)
    ok = letters.owner[:size] == letters.owner[n - 1 :]
    blank_ends = kind == _LETTER
    for offset in range(n):
        here = letters.kind[offset : offset + size]
        at_end = blank_ends and offset in (0, n - 1)
        ok &= (here == kind) | (here == _OTHER) if at_end else here == kind
    return np.flatnonzero(ok)
