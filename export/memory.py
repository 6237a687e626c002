"""Return of memory that is no longer needed to the system."""

import ctypes
import gc
import sys

import onnx


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph without the memory of what was replaced in it.

    Protobuf frees the parts of a message with the whole: a graph of published size whose float
    kernels were replaced by int8 ones takes 120 MB instead of 34.
    """
    return onnx.ModelProto.FromString(model.SerializeToString())


def give_back_memory() -> None:
    """Collect unreachable reference cycles, and return freed heap memory (of glibc only).

    The tools of a stage leave such cycles of graphs and modules. After a stage of an
    export of published size, glibc keeps up to 0.5 GB in pieces between what is in use, which no
    array of the next stage fits into.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
