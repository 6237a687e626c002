"""Run exported bundles with numpy, Pillow and the target's own runtime, without torch.

from elir_edge.runtime import Restorer

restored = Restorer("dist/denoising-nano-onnx-fp32").restore(image)
"""

from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.inputs import Remark
from elir_edge.runtime.manifest import Manifest
from elir_edge.runtime.photo_files import FileResult
from elir_edge.runtime.ready import ready_bundle
from elir_edge.runtime.restore import Restorer

__all__ = ["Bundle", "FileResult", "Manifest", "Remark", "Restorer", "ready_bundle"]
