"""Chunks cover everything once, on any number of threads, and faults come out."""

from __future__ import annotations

import numpy as np
import pytest

from regulars.core.jit import in_chunks


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 30])
def test_every_row_once(threads: int, n: int) -> None:
    seen = np.zeros(n, dtype=np.int64)

    def work(start: int, stop: int) -> None:
        seen[start:stop] += 1

    in_chunks(work, n, threads=threads, chunk=8)
    assert (seen == 1).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_in_a_chunk_is_raised(threads: int) -> None:
    def work(start: int, stop: int) -> None:
        if start:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_chunks(work, 20, threads=threads, chunk=8)
