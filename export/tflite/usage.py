"""The lines that run a TFLite file on Android, iOS and in Python."""

from collections.abc import Sequence

from elir_edge.runtime.manifest import TensorSpec
from elir_edge.tasks import Task


def usage(inputs: Sequence[TensorSpec], task: Task) -> str:
    """Return Markdown for a file with these inputs.

    Args:
        inputs: the image and, where it is one, the noise.
        task: what is restored.
    """
    image = inputs[0]
    side, batch, in_bytes = image.shape[1], image.shape[0], image.dtype == "uint8"
    kind = "uint8, 0 to 255" if in_bytes else "float32 in [0, 1]"
    enlarge = (
        f" The image is enlarged {task.upscale} times ({task.upscale_filter}) before it goes in."
        if task.upscale > 1
        else ""
    )
    noise = (
        f" A second input, `noise`, takes normal noise of standard deviation {inputs[1].high:g},"
        f" shape {tuple(inputs[1].shape)}."
        if len(inputs) > 1
        else ""
    )
    intro = (
        f"Image and result are RGB, {kind}, shape ({batch}, {side}, {side}, 3): rows of pixels, "
        f"channels last.{enlarge}{noise} Larger images go in by overlapping tiles."
    )
    sections = [
        ("Android (Kotlin, `com.google.ai.edge.litert:litert`)", "kotlin", _kotlin(in_bytes)),
        ("iOS (Swift, the pod `TensorFlowLiteSwift`)", "swift", _swift(side, in_bytes)),
        ("Python (`pip install ai-edge-litert pillow`)", "python", _python(side, in_bytes, task)),
    ]
    parts = [intro]
    for title, language, lines in sections:
        parts.append(f"**{title}**\n\n```{language}\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts) + "\n"


def _kotlin(in_bytes: bool) -> list[str]:
    values = "ByteArray" if in_bytes else "FloatArray"
    access = "Int8" if in_bytes else "Float"
    return [
        "val options = CompiledModel.Options(Accelerator.CPU)  // or GPU, NPU",
        'val model = CompiledModel.create(context.assets, "model.tflite", options)',
        "val inputs = model.createInputBuffers()",
        "val outputs = model.createOutputBuffers()",
        f"inputs[0].write{access}(pixels)  // {values}: R, G, B of each pixel, row by row",
        "model.run(inputs, outputs)",
        f"val restored = outputs[0].read{access}()",
    ]


def _swift(side: int, in_bytes: bool) -> list[str]:
    kind = "UInt8" if in_bytes else "Float32"
    return [
        "import TensorFlowLite",
        "",
        "var options = Interpreter.Options()",
        "options.threadCount = 2",
        'let path = Bundle.main.path(forResource: "model", ofType: "tflite")!',
        "let interpreter = try Interpreter(modelPath: path, options: options)",
        "try interpreter.allocateTensors()",
        f"try interpreter.copy(pixels, toInputAt: 0)  // Data: {side} * {side} * 3 {kind} values",
        "try interpreter.invoke()",
        "let restored = try interpreter.output(at: 0).data",
    ]


def _python(side: int, in_bytes: bool, task: Task) -> list[str]:
    small = side // task.upscale
    lines = [
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "from PIL import Image",
        "",
        f'image = Image.open("photo.png").convert("RGB").resize(({small}, {small}))',
    ]
    if task.upscale > 1:
        filter_name = task.upscale_filter.upper()
        lines.append(f"image = image.resize(({side}, {side}), Image.Resampling.{filter_name})")
    if in_bytes:
        lines.append("x = np.asarray(image)[None]")
    else:
        lines.append("x = np.asarray(image, np.float32)[None] / 255")
    lines += [
        'run = Interpreter("model.tflite", num_threads=2).get_signature_runner()',
        'y = run(image=x)["restored"][0]',
    ]
    if not in_bytes:
        lines.append("y = (y * 255 + 0.5).astype(np.uint8)")
    return [*lines, 'Image.fromarray(y).save("restored.png")']
