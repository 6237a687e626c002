"""The README's instructions for an engine."""

from elir_edge.runtime.manifest import EngineRecord


def usage(engine: EngineRecord, artifact: str, name: str) -> str:
    """Return how to run the engine on the device, and how to rebuild it there.

    The text names no GPU or version, which change when the engine is rebuilt; the manifest does.
    """
    return (
        f"`{artifact}` is a raw TensorRT engine (float32 NCHW, RGB in [0, 1], in and out). "
        f"`elir-edge info {name}` says for which GPU and which version; no other loads it.\n"
        "On the device: `pip install elir-edge tensorrt-rtx cuda-bindings`, or full TensorRT from "
        f"the vendor. For another GPU or version, build it anew from `{engine.source}`:\n\n"
        "```sh\n"
        f"elir-edge build-engine {name}\n"
        f"elir-edge verify {name}\n"
        "```\n\n"
        f"Without a GPU, `--runtime onnxruntime` runs `{engine.source}`, whose precision is the "
        f"engine's. `trtexec --loadEngine={name}/{artifact}` (TensorRT-RTX: `tensorrt_rtx`) loads "
        "the engine, too.\n"
    )
