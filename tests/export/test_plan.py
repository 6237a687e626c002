"""Exports of a tiny model, as a user makes them."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import export.targets.onnx.target as onnx_target
import export.twins as twins
from elir_edge.checkpoints.own import Checkpoint, save_checkpoint
from elir_edge.errors import ParityError, UsageError
from elir_edge.files import sha256_of
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.arrays import region_as_float
from export.int8.search import Effort
from export.onnx_graph.to_onnx import to_probe_graph, to_shipped_graph
from export.parity import MIN_PSNR_FP16
from export.plan import run_export
from export.request import Request
from export.static.unroll import static_form, unroll
from export.verify import compare_fp32, model_stages, verify_onnx
from tests.conftest import make_model, tiny_config, tiny_published_like
from tests.export.readme import run_blocks


def _request(checkpoint: Path, out: Path, **options: object) -> Request:
    base = Request(task="denoising", target="onnx", size=64, checkpoint=checkpoint, out=out)
    return dataclasses.replace(base, **options)  # type: ignore[arg-type]


def test_the_bundle_is_complete(tiny_bundle: Path) -> None:
    names = {path.name for path in tiny_bundle.iterdir()}
    assert names == {
        "README.md",
        "golden_input.png",
        "golden_output.png",
        "manifest.json",
        "manifest.sha256",
        "model.onnx",
        "preview.png",
    }
    manifest = Bundle.open(tiny_bundle).manifest
    assert {entry.path for entry in manifest.files} == names - {"manifest.json", "manifest.sha256"}
    missed = [check.form for check in manifest.validation if not check.passed]
    assert missed == ["plausibility"]  # the weights are random
    stages = ["latent", "coarse", "step_1", "step_2", "decoded", "restored"]
    forms = ("collapse", "unroll", "fold_scales", "fold_projections", "onnx")
    for form in forms:
        checks = [check for check in manifest.validation if check.form == form]
        references = {check.reference for check in checks}
        assert "torch fp32" in references
        assert ("torch fp64" in references) == (form != "onnx")
        for reference in references:
            assert [c.stage for c in checks if c.reference == reference] == stages
    for runtime in ("onnxruntime", "openvino"):
        form = f"artifact in {runtime}"
        assert [c.stage for c in manifest.validation if c.form == form] == ["restored"]
    assert manifest.rewrites == {"fold_scales": 6, "fold_projections": 4}
    assert list(tiny_bundle.parent.iterdir()) == [tiny_bundle]


def test_the_artifact_gives_what_torch_gives(tiny_bundle: Path, tiny_checkpoint: Path) -> None:
    model = make_model(tiny_config())
    golden = region_as_float(np.asarray(Image.open(tiny_bundle / "golden_input.png")))
    x = torch.from_numpy(golden).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = model(x, draw_noise(model.config, 64, 64)).clamp(0, 1)[0].permute(1, 2, 0)
    got = Restorer(tiny_bundle).run(golden)
    assert abs(got - expected.numpy()).max() <= 1e-4
    # The twin: another draw of the noise is another image.
    with torch.no_grad():
        other = model(x, draw_noise(model.config, 64, 64, seed=1)).clamp(0, 1)[0].permute(1, 2, 0)
    assert abs(got - other.numpy()).max() > 1e-3


def test_the_same_request_gives_the_same_bytes(
    tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    again = run_export(_request(tiny_checkpoint, tmp_path)).folder
    for path in tiny_bundle.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_half_precision_is_near_and_smaller(
    tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    half = run_export(_request(tiny_checkpoint, tmp_path, precision="fp16")).folder
    golden = region_as_float(np.asarray(Image.open(half / "golden_input.png")))
    assert psnr(Restorer(tiny_bundle).run(golden), Restorer(half).run(golden)) >= MIN_PSNR_FP16
    assert (half / "model.onnx").stat().st_size < (tiny_bundle / "model.onnx").stat().st_size
    types = {i.data_type for i in onnx.load(half / "model.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types
    assert Bundle.open(half).manifest.precision.name == "fp16"


def test_norms_stay_in_float_in_half_precision(tmp_path: Path) -> None:
    model = make_model(tiny_published_like())
    path = tmp_path / "c.safetensors"
    checkpoint = Checkpoint(task="denoising", config=model.config, state=model.state_dict())
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    folder = run_export(_request(path, tmp_path / "dist", precision="fp16")).folder
    graph = onnx.load(folder / "model.onnx").graph
    norms = [node.name for node in graph.node if node.op_type == "InstanceNormalization"]
    assert norms
    assert set(norms) == set(Bundle.open(folder).manifest.precision.excluded)


@pytest.mark.parametrize("policy", ["input", "zero"])
def test_noise_policies(policy: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    batch = 2 if policy == "input" else 1  # as the test of the README's code has it
    folder = run_export(_request(tiny_checkpoint, tmp_path, noise=policy, batch=batch)).folder
    manifest = Bundle.open(folder).manifest
    assert manifest.identity.noise.policy == policy
    assert [spec.role for spec in manifest.inputs] == ["image"] + ["noise"] * (policy == "input")
    image = np.full((64, 64, 3), 0.5, np.float32)
    first, second = (Restorer(folder, seed=seed).run(image) for seed in (1, 2))
    assert np.array_equal(first, second) == (policy == "zero")


def test_batches(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = run_export(_request(tiny_checkpoint, tmp_path, batch=3)).folder
    assert Bundle.open(folder).manifest.inputs[0].shape == (3, 3, 64, 64)
    restored = Restorer(folder).restore(np.zeros((20, 30, 3), np.uint8))
    assert restored.shape == (20, 30, 3)


def test_a_graph_of_other_weights_is_refused(tmp_path: Path) -> None:
    """The twin of every export: ONNX from one model, reference from another."""
    model, other = make_model(tiny_config(), 0), make_model(tiny_config(), 1)
    image, noise = torch.rand(1, 3, 64, 64), draw_noise(model.config, 64, 64)
    probe = to_probe_graph(static_form(model, noise), image, None)
    expected, wrong = model_stages(model, image, noise), model_stages(other, image, noise)
    verify_onnx("onnx", probe, tmp_path, expected, image, None, compare_fp32)
    with pytest.raises(ParityError, match="'latent'"):
        verify_onnx("onnx", probe, tmp_path, wrong, image, None, compare_fp32)
    assert not list(tmp_path.iterdir())


def test_a_failed_gate_writes_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupted(model: Elir, noise: torch.Tensor | None) -> object:
        static = unroll(model, noise)
        static.decoder.limit = 3.1
        return static

    monkeypatch.setattr(twins, "unroll", corrupted)
    with pytest.raises(ParityError, match="decoded"):
        run_export(_request(tiny_checkpoint, tmp_path / "dist"))
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_shipped_file_itself_is_compared(
    precision: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One kernel changed after every other check: the artifact is refused, not just the probe."""

    def corrupted(probe: onnx.ModelProto, description: dict[str, str]) -> onnx.ModelProto:
        shipped = to_shipped_graph(probe, description)
        kernel = next(i for i in shipped.graph.initializer if i.name.endswith("weight"))
        values = onnx.numpy_helper.to_array(kernel) * np.float32(1.1)
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
        return shipped

    monkeypatch.setattr(onnx_target, "to_shipped_graph", corrupted)
    with pytest.raises(ParityError, match="artifact in onnxruntime: stage 'restored'"):
        run_export(_request(tiny_checkpoint, tmp_path / "dist", precision=precision))
    assert not list((tmp_path / "dist").iterdir())


def _random_photo(folder: Path, width: int, height: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "random.png")
    return folder / "random.png"


def test_the_readme_s_code_runs_as_it_stands(tiny_bundle: Path, tmp_path: Path) -> None:
    """Of one tile, all ways give the same image within one level; of any size, the photo's."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / tiny_bundle.name)
    made = run_blocks(bundle, _random_photo(tmp_path, 64, 64))
    assert len(made) == 3
    for other in made[1:]:
        assert np.abs(made[0].astype(int) - other).max() <= 1
    sizes = {pixels.shape for pixels in run_blocks(bundle, _random_photo(tmp_path, 200, 133))}
    assert sizes == {(133, 200, 3)}


def test_the_readme_s_code_with_noise_and_batches(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = run_export(_request(tiny_checkpoint, tmp_path, noise="input", batch=2)).folder
    photo = _random_photo(tmp_path, 70, 40)
    (made,) = run_blocks(bundle, photo, languages=("python",))[1:]
    assert made.shape == (40, 70, 3)


def test_a_full_disk_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(onnx, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run_export(_request(tiny_checkpoint, tmp_path / "dist"))
    assert not list((tmp_path / "dist").iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_keeps_the_old_bundle(
    how: signal.Signals, tiny_bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    old = tmp_path / tiny_bundle.name
    shutil.copytree(tiny_bundle, old)
    command = [sys.executable, "-m", "export", "--task", "denoising", "--size", "64"]
    process = subprocess.Popen(
        [*command, "--checkpoint", str(tiny_checkpoint), "--out", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background may have been told to ignore SIGINT, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Wait for the temporary sibling: the export is then between its first and its last file.
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [old]
    manifest = json.loads((old / "manifest.json").read_text())
    assert all(sha256_of(old / f["path"]) == f["sha256"] for f in manifest["files"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "deblurring"}, "unknown task"),
        ({"crops": 64}, "there is no calibration at fp32; fix: leave out --crops"),
        ({"precision": "int8", "crops": 0}, "0 crops are too few"),
        ({"quick": True}, "there is no quick export at fp32; fix: leave out --quick"),
        ({"target": "coreml"}, "unknown target"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"noise": "pink"}, "noise policy"),
        ({"batch": 0}, "batch 0"),
        ({"rewrites": ("magic",)}, "rewrites magic are unknown"),
        ({"rewrites": ("fold_projections", "fold_scales")}, "in this order"),
        ({"rewrites": ("fold_scales", "fold_scales")}, "in this order"),
    ],
)
def test_bad_options_are_usage_errors(
    options: dict[str, object], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        _request(tiny_checkpoint, tmp_path, **options)


def test_other_sizes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = run_export(_request(tiny_checkpoint, tmp_path, size=80)).folder
    restored = Restorer(folder).restore(np.zeros((50, 90, 3), np.uint8))
    assert restored.shape == (50, 90, 3)


@pytest.mark.parametrize(("size", "fix"), [(65, "64 or 80"), (16, "32"), (0, "32")])
def test_sizes_that_do_not_fit(size: int, fix: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"multiple of 16.*use {fix}$"):
        run_export(_request(tiny_checkpoint, tmp_path, size=size))


@pytest.mark.parametrize("options", [{"size": 100_000}, {"batch": 10_000}])
def test_graphs_beyond_memory(
    options: dict[str, int], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"too large to verify.*tiles images of any size"):
        run_export(_request(tiny_checkpoint, tmp_path, **options))


def test_another_variant_than_asked_for(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'tiny'.*'paper'"):
        run_export(_request(tiny_checkpoint, tmp_path, model="paper"))


def test_the_graph_carries_no_trace_of_this_machine(tiny_bundle: Path) -> None:
    content = (tiny_bundle / "model.onnx").read_bytes()
    for trace in (b"site-packages", b".py", str(Path.cwd()).encode()):
        assert trace not in content


def test_quick_is_few_crops_one_placement_and_no_gates() -> None:
    quick = Request(task="sr", target="onnx", precision="int8", quick=True)
    assert (quick.chosen_crops, quick.effort, quick.gates_enforced) == (16, Effort.FIRST, False)
    assert (
        Request(task="sr", target="onnx", precision="int8", quick=True, crops=40).chosen_crops == 40
    )
    plain = Request(task="sr", target="onnx", precision="int8")
    assert (plain.chosen_crops, plain.effort, plain.gates_enforced) == (128, Effort.GATES, True)
    free = Request(task="sr", target="onnx", precision="int8", enforce_gates=False)
    assert (free.effort, free.gates_enforced) == (Effort.FASTEST, False)
