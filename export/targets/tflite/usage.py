"""The README's instructions for a TFLite file on Android, on iOS and in Python."""

from collections.abc import Sequence

from elir_edge.runtime.manifest import TensorSpec
from elir_edge.tasks import Task
from export.snippets import Call, photo_to_photo


def usage(inputs: Sequence[TensorSpec], task: Task, name: str) -> str:
    """Return Markdown for a file with these inputs.

    Args:
        inputs: the image and, if the noise is an input, the noise.
        task: the restoration task.
        name: name of the bundle's folder.
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
    ]
    parts = [intro]
    for title, language, lines in sections:
        parts.append(f"**{title}**\n\n```{language}\n" + "\n".join(lines) + "\n```")
    title = "**Python (`pip install ai-edge-litert pillow`)**"
    return "\n\n".join([*parts, title, _python(inputs, task, name)])


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


def _python(inputs: Sequence[TensorSpec], task: Task, name: str) -> str:
    image = inputs[0]
    if image.dtype == "uint8":
        run, output = ["batch = tile[None]"], "pixels = output[0]"
    else:
        run = ["batch = tile[None].astype(np.float32) / 255"]
        output = "pixels = np.rint(output[0] * 255)"
    if image.shape[0] > 1:
        run.append(f"batch = np.repeat(batch, {image.shape[0]}, axis=0)")
    noise = ""
    if len(inputs) > 1:
        shape = ", ".join(str(n) for n in inputs[1].shape)
        run.append(f"noise = {inputs[1].high:g} * np.random.randn({shape})")
        noise = ", noise=noise.astype(np.float32)"
    call = Call(
        imports=["from ai_edge_litert.interpreter import Interpreter"],
        setup=[
            f'run = Interpreter("{name}/model.tflite", num_threads=2).get_signature_runner()',
        ],
        run=[*run, f'output = run(image=batch{noise})["restored"]', output],
    )
    return photo_to_photo(call, task, image.shape[1])
