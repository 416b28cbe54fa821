"""Four rows at a time against one vector, in vector registers, for kernels whose time goes into short rows.

What LLVM makes of the plain loops spends as long on checking whether arrays overlap and on adding up lanes as on the
products, and uses half of the widest registers. Rows are places in a flat, contiguous array. What is made by hand
works on whole groups of LANES numbers, in an order of sums of its own. Rows may be float32, or bfloat16 (`rounded`):
half the bytes to read, and a number's first eight binary digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from regulars.core.arrays import Floats
from regulars.core.jit import inlined_kernel, kernel

LANES = 16
LINE = 64  # bytes that come from memory together
Four = tuple[Any, Any, Any, Any]
Gathered = Floats | NDArray[np.uint16]  # float32, or the bits of bfloat16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FAST = ("fast",)
_PLACES, _FLOATS = (cast(Any, types).UniTuple(each, 4) for each in (types.int64, types.float32))


def _widened(builder: Any, short: Any, whole: Any, kind: Any) -> Any:
    """bfloat16 as float32: the upper half of its bits."""
    places = ir.Constant(whole, 16 if whole == ir.IntType(32) else [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(short, whole), places), kind)


class _Emitter:
    """Writes loads, stores and the loop over groups of lanes into the code of one call."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> None:
        self.context, self.builder, self.signature, self.args = context, builder, signature, args

    def start(self, array: int, place: Any = None) -> Any:
        """The address of a cell of the array that is argument number `array`."""
        data = self.context.make_array(self.signature.args[array])(self.context, self.builder, self.args[array]).data
        return data if place is None else self.builder.gep(data, [place])

    def four(self, argument: int) -> list[Any]:
        """The four members of a tuple."""
        return [self.builder.extract_value(self.args[argument], each) for each in range(4)]

    def _at(self, start: Any, offset: Any, kind: Any = _VECTOR) -> Any:
        return self.builder.bitcast(self.builder.gep(start, [offset]), kind.as_pointer())

    def load(self, start: Any, offset: Any) -> Any:
        """A group of float32, or one of bfloat16 made float32."""
        if start.type.pointee == ir.FloatType():
            return self.builder.load(self._at(start, offset), align=4)
        short = self.builder.load(self._at(start, offset, ir.VectorType(ir.IntType(16), LANES)), align=2)
        return _widened(self.builder, short, ir.VectorType(ir.IntType(32), LANES), _VECTOR)

    def store(self, value: Any, start: Any, offset: Any) -> None:
        self.builder.store(value, self._at(start, offset), align=4)

    def add_product(self, total: Any, left: Any, right: Any) -> Any:
        return self.builder.fadd(total, self.builder.fmul(left, right, flags=_FAST), flags=_FAST)

    def everywhere(self, number: Any) -> Any:
        """A vector of one number."""
        one = self.builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), places)

    def groups(self, n: Any) -> Any:
        """The loop: its offset counts up to the last whole group of lanes."""
        whole = self.builder.and_(n, ir.Constant(n.type, -LANES))
        zero, step = ir.Constant(n.type, 0), ir.Constant(n.type, LANES)
        return cast(Any, cgutils).for_range_slice(self.builder, zero, whole, step, n.type)


def _dots(typing_context: Any, flat: Any, rows: Any, vector: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        starts, at = [emit.start(0, place) for place in emit.four(1)], emit.start(2)
        nothing = ir.Constant(_VECTOR, [0.0] * LANES)
        sums = [cast(Any, cgutils).alloca_once_value(builder, nothing) for _ in starts]
        with emit.groups(args[3]) as (offset, _):
            with_each = emit.load(at, offset)
            for total, start in zip(sums, starts, strict=True):
                builder.store(emit.add_product(builder.load(total), emit.load(start, offset), with_each), total)
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), _VECTOR])
        add_up = cast(Any, cgutils).get_or_insert_function(
            builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32"
        )
        zero = ir.Constant(ir.FloatType(), 0.0)
        said = [builder.call(add_up, [zero, builder.load(total)], fastmath=_FAST) for total in sums]
        return context.make_tuple(builder, signature.return_type, said)

    return _FLOATS(flat, _PLACES, vector, types.int64), generate


def _add(typing_context: Any, flat: Any, rows: Any, factors: Any, out: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        starts, into = [emit.start(0, place) for place in emit.four(1)], emit.start(3)
        times = [emit.everywhere(factor) for factor in emit.four(2)]
        with emit.groups(args[4]) as (offset, _):
            total = emit.load(into, offset)
            for start, factor in zip(starts, times, strict=True):
                total = emit.add_product(total, emit.load(start, offset), factor)
            emit.store(total, into, offset)
        return context.get_dummy_value()

    return types.void(flat, _PLACES, _FLOATS, out, types.int64), generate


def _one(typing_context: Any, flat: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit = _Emitter(context, builder, signature, args)
        number = builder.load(emit.start(0, args[1]))
        if number.type == ir.FloatType():
            return number
        return _widened(builder, number, ir.IntType(32), ir.FloatType())

    return types.float32(flat, types.int64), generate


def _plain_one(flat: Gathered, place: int) -> Any:
    return _plain(flat[place : place + 1])[0]


def _plain(numbers: Gathered) -> Any:
    if numbers.dtype == np.float32:
        return numbers
    return (numbers.astype(np.uint32) << 16).view(np.float32)


def _plain_dots(flat: Gathered, rows: Four, vector: Floats, n: int) -> Four:
    whole = n // LANES * LANES
    return cast(Four, tuple(np.float32(_plain(flat[row : row + whole]) @ vector[:whole]) for row in rows))


def _plain_add(flat: Gathered, rows: Four, factors: Four, out: Floats, n: int) -> None:
    whole = n // LANES * LANES
    for row, factor in zip(rows, factors, strict=True):
        out[:whole] += factor * _plain(flat[row : row + whole])


_INTERPRETED = bool(cast(Any, numba.config).DISABLE_JIT)
_number: Callable[[Gathered, int], Any] = _plain_one if _INTERPRETED else cast(Any, intrinsic(_one))
_group_dots: Callable[[Gathered, Four, Floats, int], Four] = (
    _plain_dots if _INTERPRETED else cast(Any, intrinsic(_dots))
)
_group_add: Callable[[Gathered, Four, Four, Floats, int], None] = (
    _plain_add if _INTERPRETED else cast(Any, intrinsic(_add))
)


@inlined_kernel
def dots_of_four(flat: Gathered, rows: Four, vector: Floats) -> Four:
    """The inner products of `vector (d,)` with the rows that begin at these four places of `flat`."""
    d = len(vector)
    said0, said1, said2, said3 = _group_dots(flat, rows, vector, d)
    for f in range(d // LANES * LANES, d):
        said0 += _number(flat, rows[0] + f) * vector[f]
        said1 += _number(flat, rows[1] + f) * vector[f]
        said2 += _number(flat, rows[2] + f) * vector[f]
        said3 += _number(flat, rows[3] + f) * vector[f]
    return said0, said1, said2, said3


@inlined_kernel
def add_four(flat: Gathered, rows: Four, times: Four, out: Floats) -> None:
    """Add to `out (d,)` each of the rows that begin at these four places of `flat`, so many times."""
    d = len(out)
    _group_add(flat, rows, times, out, d)
    for f in range(d // LANES * LANES, d):
        out[f] += times[0] * _number(flat, rows[0] + f) + times[1] * _number(flat, rows[1] + f)
        out[f] += times[2] * _number(flat, rows[2] + f) + times[3] * _number(flat, rows[3] + f)


def aligned(shape: tuple[int, int], dtype: type = np.float32) -> NDArray[Any]:
    """Zeros that begin where a line of the caches does: groups of lanes across two are read at half speed."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, dtype=np.uint8)
    start = -room.ctypes.data % LINE
    return room[start : start + size].view(dtype).reshape(shape)


@kernel
def _round(bits: NDArray[np.uint32], out: NDArray[np.uint16]) -> None:
    for place in range(len(bits)):
        tie = (bits[place] >> np.uint32(16)) & np.uint32(1)
        out[place] = np.uint16((bits[place] + np.uint32(0x7FFF) + tie) >> np.uint32(16))


def rounded(numbers: Floats) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16 of each finite number, ties to even."""
    short = aligned(numbers.shape, np.uint16)
    _round(np.ascontiguousarray(numbers).view(np.uint32).ravel(), short.ravel())
    return short
