"""The engine of a bundle: does it fit this device, and how to build one that does."""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elir_edge.errors import BackendError, BundleError, UsageError
from elir_edge.files import replacing_folder
from elir_edge.runtime.bundle import Bundle, describe_file, write_manifest
from elir_edge.runtime.manifest import Engine, Manifest
from elir_edge.runtime.tensorrt.cuda import Cuda, open_cuda
from elir_edge.runtime.tensorrt.sdk import Built, Sdk, build_engine, installed_sdks, require_sdk
from elir_edge.runtime.tensorrt.support import (
    CURRENT,
    DEFAULT_GPU,
    FULL,
    PRECISIONS,
    RTX,
    require_known,
    require_supported,
)

RUNTIME = "trt"
CACHE_POLICY = (
    "no timing cache; what TensorRT-RTX compiles on the device stays in its cache folder there"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which TensorRT builds for which GPU.

    Attributes:
        sdk: what builds.
        gpu: compute capability to build for, in the manifest's words.
        here: whether this machine's GPU is that one, so that the engine can be run.
    """

    sdk: Sdk
    gpu: str
    here: bool

    def build(self, onnx: bytes) -> Built:
        """Build from an ONNX graph."""
        return build_engine(self.sdk, onnx, CURRENT if self.sdk.kind == FULL else self.gpu)


def gpu_here() -> str | None:
    """Return this machine's compute capability; None where there is no CUDA device."""
    try:
        return open_cuda().capability
    except BackendError:
        return None


def plan_build(
    precision: str, gpu: str | None, here: str | None, sdks: Sequence[Sdk] | None = None
) -> Plan:
    """Choose what builds: the first TensorRT that computes in that precision on that GPU.

    Args:
        precision: of the ONNX graph.
        gpu: name of a compute capability, `current`, or None: the RTX 2080 Ti's.
        here: this machine's compute capability, or None.
        sdks: what is installed; None: look.

    Raises:
        UsageError: no such GPU, or no TensorRT that is installed supports this.
        BackendError: no TensorRT, or `current` without a GPU.
    """
    wanted = gpu or DEFAULT_GPU
    if wanted != here:
        require_known(wanted)
    if wanted == CURRENT:
        if here is None:
            open_cuda()  # says why there is none
            raise BackendError("no CUDA device here", fix="name a GPU, e.g. --gpu sm75")
        wanted = here
    found = installed_sdks() if sdks is None else sdks
    for sdk in found:
        # Full TensorRT builds for the GPU that it runs on, and for no other.
        able = precision in PRECISIONS[sdk.kind].get(wanted, ())
        if able and (sdk.kind == RTX or wanted == here):
            return Plan(sdk=sdk, gpu=wanted, here=wanted == here)
    require_supported(RTX, wanted, precision)
    require_sdk(RTX, found)
    raise AssertionError("TensorRT-RTX supports this and is installed")


def record(plan: Plan, source: str, *, ran: bool) -> Engine:
    """Return an engine's part of the manifest."""
    return Engine(
        kind=plan.sdk.kind,
        version=plan.sdk.version,
        capability=plan.gpu,
        source=source,
        ran=ran,
        cache=CACHE_POLICY,
    )


def require_fitting(
    bundle: Bundle, *, sdks: Sequence[Sdk] | None = None, cuda: Cuda | None = None
) -> None:
    """Require that a bundle's engine is for this machine's TensorRT and GPU.

    Raises:
        BackendError: TensorRT or a GPU is missing.
        BundleError: the engine is for another version or GPU.
    """
    engine = bundle.manifest.target.engine
    if engine is None:
        return
    mend = f"elir-edge build-engine {bundle.folder}"
    sdk = require_sdk(engine.kind, sdks)
    if sdk.version != engine.version:
        raise BundleError(
            f"the engine of {bundle.folder} is for another {engine.kind}",
            got=sdk.version,
            expected=engine.version,
            fix=mend,
        )
    try:
        here = (cuda or open_cuda()).capability
    except BackendError as error:
        raise BackendError(
            f"the engine of {bundle.folder} needs an NVIDIA GPU: {error}, or pass "
            "--runtime onnxruntime, which runs the ONNX that it was built from"
        ) from error
    if here != engine.capability:
        raise BundleError(
            f"the engine of {bundle.folder} is for another GPU",
            got=here,
            expected=engine.capability,
            fix=mend,
        )


def rebuild(folder: Path, gpu: str | None = None) -> tuple[Engine, Path]:
    """Build a bundle's engine anew from its ONNX, for the GPU at hand unless another is named.

    The bundle is replaced as a whole, or stays as it is.

    Returns:
        The engine's record and file.

    Raises:
        ElirError: it cannot be built here.
    """
    bundle = Bundle.open(folder, skip_artifact=True)
    old = bundle.manifest.target.engine
    if old is None:
        raise UsageError(
            f"{folder} has no engine",
            expected="a bundle made by `make export TASK=... TARGET=tensorrt`",
        )
    artifact = bundle.manifest.artifact().path
    plan = plan_build(bundle.manifest.precision.name, gpu or CURRENT, gpu_here())
    built = plan.build(bundle.path_of(old.source).read_bytes())
    with replacing_folder(folder.resolve()) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        (temporary / artifact).write_bytes(built.plan)
        engine = record(plan, old.source, ran=plan.here)
        manifest = _with_engine(bundle.manifest, engine, temporary, built)
        write_manifest(temporary, manifest)
        if plan.here:
            from elir_edge.runtime.selftest import verify_bundle

            verify_bundle(temporary)
    return engine, folder / artifact


def _with_engine(manifest: Manifest, engine: Engine, folder: Path, built: Built) -> Manifest:
    artifact = manifest.artifact()
    entry = describe_file(folder / artifact.path, role=artifact.role, folder=folder)
    target = manifest.target
    versions = {k: v for k, v in target.versions.items() if k not in (RTX, FULL)}
    details = {"num_layers": built.num_layers, "convolutions": built.convolutions}
    return dataclasses.replace(
        manifest,
        files=tuple(entry if e.path == artifact.path else e for e in manifest.files),
        target=dataclasses.replace(
            target,
            versions={**versions, engine.kind: engine.version},
            details={**target.details, **details},
            engine=engine,
        ),
    )
