"""The one typed door to numba: `@kernel` compiles to machine code that releases the GIL and is cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile a function of arrays and scalars (`nogil`, cached)."""
    return cast(Kernel, numba.njit(cache=True, nogil=True)(function))


def fast_kernel(function: Kernel) -> Kernel:
    """Like `kernel`, and sums may be reordered for vector units: for dot products, never where order matters."""
    return cast(Kernel, numba.njit(cache=True, nogil=True, fastmath=True)(function))


def in_chunks(work: Callable[[int, int], None], n: int, *, threads: int, chunk: int = 4096) -> None:
    """Run `work(start, stop)` over [0, n) in chunks, on `threads` threads; kernels release the GIL.

    Threads of our own instead of numba's `parallel=True`: no threading layer to start, and compiling takes a
    third of the time.
    """
    starts = range(0, n, chunk)
    if threads <= 1 or len(starts) <= 1:
        for start in starts:
            work(start, min(start + chunk, n))
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, min(start + chunk, n)) for start in starts]:
            done.result()
