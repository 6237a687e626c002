"""Memory that nothing needs any more is given back: freed memory, and what protobuf still holds."""

import ctypes
import gc
import sys

import onnx


def compacted(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph without the memory of what was replaced in it.

    Protobuf frees the parts of a message with the whole: a graph of published size whose float
    kernels were replaced by int8 ones takes 120 MB instead of 34.
    """
    return onnx.ModelProto.FromString(model.SerializeToString())


def give_back_memory() -> None:
    """Free what only refers to itself, and return freed memory to the system, if it is glibc's.

    The tools of a stage leave graphs and modules that refer to one another. After a stage of an
    export of published size, glibc keeps up to 0.5 GB in pieces between what is in use, which no
    array of the next stage fits into.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
