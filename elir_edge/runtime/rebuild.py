"""Rebuild a bundle's TensorRT engine for this device."""

import dataclasses
import shutil
from pathlib import Path

from elir_edge.errors import UsageError
from elir_edge.files import replacing_folder
from elir_edge.runtime.backends.tensorrt.engine import choose_builder, engine_record, gpu_here
from elir_edge.runtime.backends.tensorrt.sdk import SerializedEngine
from elir_edge.runtime.backends.tensorrt.support import CURRENT, FULL, RTX
from elir_edge.runtime.bundle import Bundle, describe_file, write_manifest
from elir_edge.runtime.manifest import EngineRecord, Manifest
from elir_edge.runtime.selftest import verify_bundle


def rebuild(folder: Path, gpu: str | None = None) -> tuple[EngineRecord, Path]:
    """Rebuild a bundle's TensorRT engine from the bundle's ONNX file.

    The bundle is replaced as a whole, or not changed at all.

    Args:
        folder: the bundle.
        gpu: compute capability to build for, e.g. `sm75`; None: this machine's GPU.

    Returns:
        The manifest's record of the engine, and the path of its file.

    Raises:
        UsageError: the bundle has no engine, or TensorRT does not support the GPU or the precision.
        BundleError: the bundle is damaged, or the new engine fails the self-test.
        BackendError: TensorRT or a GPU is missing, or the build failed.
    """
    bundle = Bundle.open(folder, skip_artifact=True)
    old = bundle.manifest.target.engine
    if old is None:
        raise UsageError(
            f"{folder} has no engine",
            expected="a bundle made by `make export TASK=... TARGET=tensorrt`",
        )
    artifact = bundle.manifest.artifact().path
    builder = choose_builder(bundle.manifest.precision.name, gpu or CURRENT, gpu_here())
    built = builder.build(bundle.path_of(old.source).read_bytes())
    with replacing_folder(folder.resolve()) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        (temporary / artifact).write_bytes(built.plan)
        engine = engine_record(builder, old.source, ran=builder.here)
        manifest = _with_engine(bundle.manifest, engine, temporary, built)
        write_manifest(temporary, manifest)
        if builder.here:
            verify_bundle(temporary)
    return engine, folder / artifact


def _with_engine(
    manifest: Manifest, engine: EngineRecord, folder: Path, built: SerializedEngine
) -> Manifest:
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
