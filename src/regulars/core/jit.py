"""The one typed door to numba: `@kernel` compiles to machine code that releases the GIL and is cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(function: Kernel) -> Kernel:
    """Compile a function of arrays and scalars (`nogil`, cached)."""
    return cast(Kernel, numba.njit(cache=True, nogil=True)(function))


def fast_kernel(function: Kernel) -> Kernel:
    """Like `kernel`, and sums may be reordered for vector units: for dot products, never where order matters."""
    return cast(Kernel, numba.njit(cache=True, nogil=True, fastmath=True)(function))


def inlined_kernel(function: Kernel) -> Kernel:
    """Like `fast_kernel`, and written into its caller: for pieces so small that a call costs as much."""
    return cast(Kernel, numba.njit(cache=True, nogil=True, fastmath=True, forceinline=True)(function))


def _hint(typing_context: Any, array: Any, idx: Any) -> Any:
    """Compile `prefetch` to the one instruction that it is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number, address = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        hint = cast(Any, cgutils).get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        cell = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        builder.call(hint, [builder.bitcast(cell, address), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, idx), generate


def _nothing(array: Any, idx: int) -> None:
    """Without a compiler there is nothing to hint at."""


# prefetch(array, idx), in a kernel: ask for a flat array's cell before it is read. It changes no result, and idx may
# lie outside; rows that are met in random order are read two to three times as fast.
prefetch: Callable[[Any, Any], None] = cast(
    Any, _nothing if cast(Any, numba.config).DISABLE_JIT else intrinsic(_hint)
)


def _exponent(typing_context: Any, n: Any) -> Any:
    """Compile `two_to` to the bits of a float32 whose exponent is `n`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits, bias, place = ir.IntType(32), 127, 23
        return builder.bitcast(builder.shl(builder.add(args[0], bits(bias)), bits(place)), ir.FloatType())

    return types.float32(types.int32), generate


def _two_to(n: np.int32) -> np.float32:
    return np.float32(2.0**n)


# two_to(n), in a kernel: 2^n of a whole number in [-126, 127], which vector units can do
two_to: Callable[[Any], Any] = cast(Any, _two_to if cast(Any, numba.config).DISABLE_JIT else intrinsic(_exponent))


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
