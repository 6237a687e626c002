"""int8 bundles of a tiny model; gates; the search's cache."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

import export.int8.cache as cache
import export.int8.gates as gates
from elir_edge.errors import ParityError, UsageError
from elir_edge.runtime import Bundle, Restorer
from export.int8.cost import Gain
from export.int8.gates import gate_checks, reasons, require_gates_of_search
from export.plan import ExportResult, run_export
from export.request import Request
from tests.export.int8.results import QUALITY, RESULT


def _request(checkpoint: Path, out: Path) -> Request:
    return Request(
        task="denoising",
        target="onnx",
        precision="int8",
        size=64,
        checkpoint=checkpoint,
        crops=4,
        enforce_gates=False,
        out=out,
    )


@pytest.fixture(scope="module")
def exported(
    quick_search: None, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """Return an int8 bundle of random weights, whose gates are recorded only."""
    return run_export(_request(tiny_checkpoint, tmp_path_factory.mktemp("dist")))


def test_the_bundle_says_how_it_was_made(exported: ExportResult) -> None:
    manifest = Bundle.open(exported.folder).manifest
    assert manifest.precision.name == "int8"
    assert manifest.precision.calibration_count == 4
    assert manifest.precision.calibration_sha256
    assert manifest.rewrites["equalize"] > 0
    assert manifest.rewrites["transpose_to_shuffle"] > 0
    assert set(manifest.target.runtimes) == {"onnxruntime", "openvino"}
    gates = [check for check in manifest.validation if check.form.startswith("int8 in ")]
    assert [check.metric for check in gates] == ["psnr_db", "lost_db"] * 2
    for runtime in ("onnxruntime", "openvino"):
        recipe = json.loads((exported.folder / f"recipe-{runtime}.json").read_text())
        assert recipe["runtime"] == runtime
        assert recipe["milliseconds"]["float32"] > 0


def test_both_runtimes_give_nearly_the_same(exported: ExportResult, photo) -> None:  # type: ignore[no-untyped-def]
    """8-bit images of one recipe or two, within 35 dB: the self-test's limit."""
    from elir_edge.data.datasets import to_float
    from elir_edge.metrics import psnr

    images = [
        Restorer(exported.folder, runtime=r).restore(photo) for r in ("onnxruntime", "openvino")
    ]
    assert psnr(to_float(images[0]), to_float(images[1])) >= 35
    assert psnr(to_float(images[0]), to_float(images[1][::-1].copy())) < 35


def test_a_second_export_is_the_same_and_searches_nothing(
    exported: ExportResult, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search_again(*arguments: object, **options: object) -> None:
        pytest.fail("searched again")

    monkeypatch.setattr(cache, "find", search_again)
    again = run_export(_request(tiny_checkpoint, tmp_path))
    for name in ("model.onnx", "golden_output.png"):
        assert (again.folder / name).read_bytes() == (exported.folder / name).read_bytes()


def test_a_missed_gate_leaves_nothing(
    exported: ExportResult, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "MIN_PSNR_INT8", 150.0)
    request = dataclasses.replace(_request(tiny_checkpoint, tmp_path), enforce_gates=True)
    with pytest.raises(ParityError, match=r"misses its gate.*expected psnr_db >= 150"):
        run_export(request)
    assert list(tmp_path.iterdir()) == []


def test_gates() -> None:
    assert all(check.passed for check in gate_checks("onnxruntime", QUALITY))
    for field, value in (
        ("worst_psnr_db", 34.9),
        ("worst_psnr_db", math.nan),
        ("lost_db", 0.11),
        ("lost_db", math.nan),
    ):
        checks = gate_checks("onnxruntime", dataclasses.replace(QUALITY, **{field: value}))
        assert sum(check.passed for check in checks) == 1


def test_a_missed_gate_names_stage_layers_and_mends() -> None:
    checks = gate_checks("openvino", dataclasses.replace(QUALITY, lost_db=0.2))
    with pytest.raises(ParityError) as caught:
        require_gates_of_search("openvino", checks, RESULT)
    for part in ("'latent', at 40.0 dB", "node_a (0.030 dB)", "lost_db 0.2", "--calibration"):
        assert part in str(caught.value), part
    require_gates_of_search("openvino", gate_checks("openvino", QUALITY), RESULT)


def test_convolutions_in_float32_have_their_reasons() -> None:
    gains = [
        Gain(names=("a",), gain_db=0.5),  # of another runtime's search
        Gain(names=("a",), gain_db=0.03),
        Gain(names=("b", "c", "d"), gain_db=0.1),
    ]
    assert reasons(("a", "c"), gains) == {
        "a": "float32 gains 0.030 dB",
        "c": "float32 gains 0.100 dB together with 2 neighbours",
    }


def test_calibration_needs_int8() -> None:
    with pytest.raises(UsageError, match="not used at fp32"):
        Request(task="sr", target="onnx", calibration=Path("photos"))
    with pytest.raises(UsageError, match="0 crops"):
        Request(task="sr", target="onnx", precision="int8", crops=0)
