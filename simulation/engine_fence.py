"""What threads that share the street need and numba does not offer: fences and a counter that adds atomically.

A trick, so it has a file of its own. Two threads meet only where a link leads from one block to another: the one
upstream fills a slot and then names its vehicle, the one downstream empties it and then takes the name away. The fences
keep compiler and processor from turning that order round; on x86 they cost nothing.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


def _fence(ordering: str) -> Any:
    def define(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), generate

    return define


publish: Any = intrinsic(_fence("release"))  # what was written before is seen by whoever sees what is written now
observe: Any = intrinsic(_fence("acquire"))  # what is read from now on is not older than what was read before


def _add_atomically(typing_context: Any, counters: Any, place: Any, amount: Any) -> Any:
    """Add ``amount`` to ``counters[place]`` in one step and return what was there before; a full fence."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type, place_type, _ = signature.args
        array, place, amount = arguments
        view = make_array(array_type)(context, builder, array)
        place = context.cast(builder, place, place_type, types.intp)
        pointer = cgutils.get_item_pointer(context, builder, array_type, view, [place])
        amount = context.cast(builder, amount, signature.args[2], types.int64)
        return builder.atomic_rmw("add", pointer, amount, "seq_cst")

    if not (isinstance(counters, types.Array) and counters.dtype == types.int64):
        return None
    return types.int64(counters, place, amount), generate


add_atomically: Any = intrinsic(_add_atomically)


def _yield(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield")
        return builder.call(function, [])

    return types.int32(), generate


yield_processor: Any = intrinsic(_yield)  # POSIX; who waits for longer than a moment lets others work


def _fetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask the memory for an item that will be needed soon: a city's vehicles do not fit the processor's caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type, place_type = signature.args
        view = make_array(array_type)(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], place_type, types.intp)
        pointer = cgutils.get_item_pointer(context, builder, array_type, view, [place])
        word, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [word, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(pointer, word)
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    if not isinstance(array, types.Array):
        return None
    return types.void(array, place), generate


fetch: Any = intrinsic(_fetch)
