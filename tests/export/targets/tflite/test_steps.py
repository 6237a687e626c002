"""The target's steps one by one: what the file is described as, and who may refuse it."""

import contextlib
import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

import export.targets.tflite.convert as convert_module
import export.targets.tflite.quantize as quantize_module
import export.targets.tflite.target as target_module
from elir_edge.errors import ExportError, ParityError
from export.targets.tflite.file import Operation
from export.targets.tflite.weights import prepare_for_int8, with_tensors
from export.verify import compare_fp32

Specs = list[Any]


def _graph(precision: str, *, noisy: bool = False) -> Any:
    return SimpleNamespace(
        precision=precision,
        image=torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)),
        noise=torch.full((2, 4, 5, 6), 0.5) if noisy else None,
        sigma_s=0.25,
        compare=compare_fp32,
    )


@pytest.mark.parametrize(
    ("precision", "dtype", "high", "scale", "zero"),
    [("int8", "uint8", 255.0, 1 / 255, 0), ("fp16", "float32", 1.0, None, None)],
)
def test_specs(
    precision: str, dtype: str, high: float, scale: float | None, zero: int | None
) -> None:
    image, restored, noise = target_module._specs(_graph(precision, noisy=True))
    assert (image.name, restored.name, noise.name) == ("image", "restored", "noise")
    for spec in (image, restored):
        assert spec.role == "image"
        assert spec.shape == (2, 32, 48, 3)
        assert (spec.dtype, spec.layout, spec.colour) == (dtype, "NHWC", "RGB")
        assert (spec.low, spec.high, spec.scale, spec.zero_point) == (0, high, scale, zero)
    assert (noise.role, noise.dtype, noise.layout) == ("noise", "float32", "NHWC")
    assert noise.shape == (2, 5, 6, 4)
    assert (noise.low, noise.high) == (-0.25, 0.25)
    assert len(target_module._specs(_graph(precision))) == 2


def test_a_float_file_is_compared_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """To 1e-4, with the same noise; only the restored image counts."""
    graph = _graph("fp32", noisy=True)
    graph.reference = {"latent": np.zeros(1), "restored": graph.image.numpy() / 2}
    fed: list[dict[str, np.ndarray]] = []

    def running(error: float) -> Any:
        def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            fed.append(feed)
            return {"restored": feed["image"] * feed["noise"][0, 0, 0, 0] + np.float32(error)}

        return lambda path: contextlib.nullcontext(run)

    monkeypatch.setattr(target_module, "running_file", running(0.9e-4))
    checks = target_module._compare_with_torch(graph, Path("unread"))
    assert [(c.form, c.stage, c.passed) for c in checks] == [
        ("artifact in litert", "restored", True)
    ]
    monkeypatch.setattr(target_module, "running_file", running(1.1e-4))
    with pytest.raises(ParityError, match="artifact in litert"):
        target_module._compare_with_torch(graph, Path("unread"))
    assert all(set(feed) == {"image", "noise"} for feed in fed)


def _operation(kind: str) -> Operation:
    return Operation(kind=kind, inputs=(), outputs=("y",), relu=False, rank=4, static=True)


@pytest.mark.parametrize(
    ("kinds", "left", "refused"),
    [
        (["ADD", "CONV_2D"], [], None),
        (["RSQRT"], [], None),  # which Hexagon lacks: it may
        (["DEPTH_TO_SPACE"], [], "gpu: DEPTH_TO_SPACE: not supported"),
        (["ADD"], ["ADD"], "xnnpack: ADD: left by XNNPACK"),
        (["GATHER"], ["GATHER"], "xnnpack: GATHER: left by XNNPACK; gpu: GATHER: not supported"),
    ],
)
def test_who_must_take_a_file(
    kinds: list[str], left: list[str], refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def backend(path: Path, threads: int, *, keep_operations: bool) -> Any:
        asked.append((path, threads, keep_operations))
        return contextlib.nullcontext(SimpleNamespace(undelegated=lambda: left))

    monkeypatch.setattr(target_module, "LiteRtBackend", backend)
    monkeypatch.setattr(
        target_module, "read_operations", lambda path: [_operation(kind) for kind in kinds]
    )
    if refused is None:
        found = target_module._require_portable(Path("f"))
        assert found.operations == dict.fromkeys(sorted(kinds), 1)
    else:
        with pytest.raises(ExportError) as caught:
            target_module._require_portable(Path("f"))
        assert f"got {refused}; expected" in str(caught.value)
    assert asked == [(Path("f"), 1, True)]


def test_channels_go_last() -> None:
    given = {"image": np.random.default_rng(0).random((2, 3, 4, 5), np.float32)}
    found = target_module._channels_last(given)["image"]
    assert np.array_equal(found, given["image"].transpose(0, 2, 3, 1))
    assert found.flags["C_CONTIGUOUS"]


class _Rounded:
    """A graph whose kernels are rounded, and whose biases are corrected if it is quantized."""

    def __init__(self, tensors: dict[str, np.ndarray], corrected: dict[str, np.ndarray]) -> None:
        self.rounded, self._corrected = _model(tensors), _model(corrected)
        self.recipes: list[Any] = []

    def quantize(self, recipe: Any) -> onnx.ModelProto:
        self.recipes.append(recipe)
        return self._corrected


def _model(tensors: dict[str, np.ndarray]) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(v, k) for k, v in tensors.items()]
    return helper.make_model(helper.make_graph([], "g", [], [], constants))


@pytest.mark.parametrize("correct", [False, True])
def test_numbers_of_the_rounded_graph(correct: bool) -> None:
    """Kernels always, biases if they are corrected; what fits no parameter is left alone."""
    static = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    before = {name: value.clone() for name, value in static.state_dict().items()}
    kernel = np.full((2, 2, 1, 1), 0.5, np.float32)
    bias = np.full(2, 0.25, np.float32)
    graph = _Rounded(
        {"0.weight": kernel, "1.weight": np.ones((2, 2, 3, 3), np.float32), "n": np.arange(3)},
        {"0.bias": bias, "1.weight": kernel, "1.bias": np.array([1, 2])},
    )
    made = prepare_for_int8(static, graph, correct=correct).state_dict()  # type: ignore[arg-type]
    assert np.array_equal(made["0.weight"], kernel)
    assert torch.equal(made["1.weight"], before["1.weight"])  # of another shape, or no bias
    assert torch.equal(made["1.bias"], before["1.bias"])  # of whole numbers
    assert np.array_equal(made["0.bias"], bias) is correct
    assert all(torch.equal(value, before[name]) for name, value in static.state_dict().items())
    assert len(graph.recipes) == correct
    for recipe in graph.recipes:
        assert (recipe.placement.value, recipe.estimator, recipe.corrected) == ("all", "mse", True)
    assert with_tensors(static, {"other": kernel}) is not static


def test_only_progress_bars_are_kept_back(capsys: pytest.CaptureFixture[str]) -> None:
    with quantize_module._without_bars():
        sys.stderr.write("Applying Transformations: 10%\rApplying Transformations: 100%\nodd\n")
        sys.stderr.write("\n\rmore")
    assert capsys.readouterr().err == "odd\nmore\n"

    def fail() -> None:
        sys.stderr.write("why\n")
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"), quantize_module._without_bars():
        fail()
    assert capsys.readouterr().err == "why\n"


def test_only_known_remarks_are_kept_back(caplog: pytest.LogCaptureFixture) -> None:
    """By any of the tools' loggers; lines about progress, too; afterwards nothing is."""
    logger = logging.getLogger("torch")
    seen: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Keeping()
    logger.addHandler(handler)
    try:
        with convert_module.quiet():
            logger.warning("Failed to load a library for another machine")
            logger.warning("Could not load this library: x")
            logger.warning("X is an Enum subclass")
            logger.info("10 %")
            logger.warning("out of memory")
            print("progress")
            with pytest.warns(UserWarning, match="real"):
                warnings.warn("real", UserWarning, stacklevel=1)
        logger.warning("Failed to load again")
    finally:
        logger.removeHandler(handler)
    assert seen == ["out of memory", "Failed to load again"]


def test_remarks_that_no_handler_takes_are_kept_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python shows those by itself; not every program has that."""
    logger = logging.Logger("of_a_tool")
    last = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging, "lastResort", last)
    with convert_module.quiet():
        logger.warning("Failed to load a library for another machine")
        logger.warning("out of memory")
    assert capsys.readouterr().err == "out of memory\n"
    assert not last.filters
    monkeypatch.setattr(logging, "lastResort", None)
    with convert_module.quiet():
        logger.warning("out of memory")


def test_without_the_converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(ExportError, match=r"litert-torch cannot be imported .*\[tflite\]"):
        convert_module.to_tflite(
            nn.Identity(),  # type: ignore[arg-type]
            torch.zeros(1, 3, 8, 8),
            None,
            tmp_path / "f.tflite",
            clamped=True,
        )
    assert not list(tmp_path.iterdir())
