"""The lines of a bundle's README about its engine."""

from elir_edge.runtime.manifest import Engine


def usage(engine: Engine, artifact: str) -> str:
    """Return how to run the engine on the device, and how to build it anew there."""
    return (
        f"`{artifact}` is a raw {engine.kind} {engine.version} engine for `{engine.capability}` "
        f"GPUs (float32 NCHW, RGB in [0, 1], in and out); no other GPU or version loads it.\n"
        f"On the device: `pip install elir-edge tensorrt-rtx cuda-bindings`; with another version "
        f"or GPU there, build it anew from `{engine.source}`:\n\n"
        "```sh\n"
        "elir-edge build-engine .\n"
        "elir-edge verify .\n"
        "```\n\n"
        f"Without a GPU, `--runtime onnxruntime` runs `{engine.source}`, whose precision is the "
        "engine's. TensorRT's own tools load the engine too: "
        f"`trtexec --loadEngine={artifact}` (`tensorrt_rtx --loadEngine=...` for TensorRT-RTX).\n"
    )
