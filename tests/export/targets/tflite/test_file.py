"""Small TFLite files, read, changed, observed and quantized, against values by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elir_edge.errors import BackendError, ExportError
from elir_edge.runtime.backends.litert import LiteRtBackend
from export.calibration.ranges import TensorStatistics
from export.int8.cost import Work
from export.int8.recipe import Recipe
from export.onnx_graph.to_onnx import IMAGE, RESTORED

pytest.importorskip("litert_torch", reason="needs the extra `tflite`")

import export.targets.tflite.candidates as candidates_module
import export.targets.tflite.observe as observe_module
from export.targets.tflite.candidates import TfliteCandidates, running_file
from export.targets.tflite.convert import to_tflite
from export.targets.tflite.file import (
    Operation,
    describe,
    read_metadata,
    read_operations,
    with_byte_images,
)
from export.targets.tflite.observe import observe_file
from export.targets.tflite.quantize import TflitePlacement, halve_file, quantize_file

_SIZE = 16
_Inputs = Mapping[str, np.ndarray]


class _Small(nn.Module):
    """A convolution, a rectified sum, a transposed convolution and a plain sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.ConvTranspose2d(8, 3, 2, stride=2)

    def stages(self, image: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        a = self.first(image)
        b = torch.relu(a + 0.5 * self.second(a))
        return {"decoded": 0.5 * image + self.last(b)}


@pytest.fixture(scope="module")
def network() -> _Small:
    return _Small().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def source(network: _Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "float.tflite"
    image = torch.rand(1, 3, _SIZE, _SIZE)
    to_tflite(network, image, None, path, clamped=False)  # type: ignore[arg-type]
    return path


def _images(count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (count, 1, 3, _SIZE, _SIZE)).astype(np.float32)
    return list(levels / np.float32(255))


def _restored(path: Path, image: np.ndarray) -> np.ndarray:
    """Run a file on an image, channels first."""
    with running_file(path) as run:
        return run({IMAGE: image})[RESTORED]


def _channels_last(image: np.ndarray) -> dict[str, np.ndarray]:
    return {IMAGE: np.ascontiguousarray(image.transpose(0, 2, 3, 1))}


def test_the_file_computes_what_torch_does(source: Path, network: _Small) -> None:
    for image in _images():
        expected = network.stages(torch.from_numpy(image))["decoded"].numpy()
        got = _restored(source, image)
        assert np.abs(got - expected).max() < 1e-5
        assert np.abs(got - expected[:, ::-1]).max() > 0.01


def test_limited_to_what_an_image_may_be(network: _Small, tmp_path: Path) -> None:
    """Below 0 and above 1, only if asked for; by operations that delegates have."""
    path = tmp_path / "clamped.tflite"
    image = torch.from_numpy(_images(1)[0]) * 8 - 3
    to_tflite(network, image, None, path, clamped=True)  # type: ignore[arg-type]
    expected = network.stages(image)["decoded"].numpy()
    assert expected.min() < -0.1
    assert expected.max() > 1.1
    got = _restored(path, image.numpy())
    assert np.abs(got - expected.clip(0, 1)).max() < 1e-5
    assert not {"MINIMUM", "MAXIMUM"} & {each.kind for each in read_operations(path)}


def test_operations_by_hand(source: Path) -> None:
    """Multiply-accumulates and values of either kind of convolution; who reads what."""
    operations = read_operations(source)
    works = {each.kind: [] for each in operations}  # type: ignore[var-annotated]
    for each in operations:
        works[each.kind].append(each.work)
    inner, outer, padded = 8 * 8, _SIZE * _SIZE, (_SIZE + 2) ** 2
    assert works["CONV_2D"] == [
        Work(macs=inner * 8 * 3 * 9, values=3 * padded + 8 * inner),
        Work(macs=inner * 8 * 8 * 9, values=8 * inner + 8 * inner),
    ]
    assert works["TRANSPOSE_CONV"] == [
        Work(macs=inner * 3 * 8 * 4, values=8 * inner + 3 * outer),
    ]
    assert all(w is None for kind, of in works.items() for w in of if "CONV" not in kind)
    assert all(each.static and each.rank == 4 for each in operations)
    assert [each.relu for each in operations if each.kind == "ADD"].count(True) == 1
    produced = {name for each in operations for name in each.outputs}
    first = next(each for each in operations if each.kind == "CONV_2D")
    assert len(first.inputs) == 3
    assert len(set(first.inputs) - produced) == 2  # kernel and bias; the image was padded
    second = [each for each in operations if each.kind == "CONV_2D"][1]
    assert set(second.inputs) & set(first.outputs)


def test_images_in_bytes(source: Path, network: _Small, tmp_path: Path) -> None:
    """0 is black, 255 white; results saturate and are rounded to the nearest level."""
    path = tmp_path / "bytes.tflite"
    path.write_bytes(source.read_bytes())
    with_byte_images(path)
    kinds = [each.kind for each in read_operations(path)]
    assert kinds[0] == "DEQUANTIZE"
    assert kinds[-1] == "QUANTIZE"
    assert kinds[1:-1] == [each.kind for each in read_operations(source)]
    backend = LiteRtBackend(path, 1)
    assert backend.takes_bytes(IMAGE)
    image = _images(1)[0]
    feed = {IMAGE: np.rint(255 * image).astype(np.uint8).transpose(0, 2, 3, 1).copy()}
    got = backend.run(feed)[RESTORED]
    assert got.dtype == np.uint8
    wanted = (255 * network.stages(torch.from_numpy(image))["decoded"].numpy()).clip(0, 255)
    assert np.abs(got.transpose(0, 3, 1, 2) - wanted).max() <= 0.5 + 1e-3
    assert got.min() == 0  # below which the network goes
    # As floats, by the same function as the float file's.
    floats = _restored(path, image)
    assert np.array_equal(floats, got.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
    details = backend._interpreter.get_input_details()[0]
    assert details["quantization"] == (pytest.approx(1 / 255), 0)
    assert list(details["shape"]) == [1, _SIZE, _SIZE, 3]
    with pytest.raises(ExportError, match="image is not float32"):
        with_byte_images(path)


def test_bytes_between_levels_are_rounded(source: Path, tmp_path: Path) -> None:
    """As a photo's pixel that is not a multiple of 1/255 would be, to the nearest one."""
    path = tmp_path / "bytes.tflite"
    path.write_bytes(source.read_bytes())
    with_byte_images(path)
    image = _images(1)[0]
    inside = image.clip(0.1, 0.9)
    level = np.rint(inside * 255) / np.float32(255)
    nudged = (level + np.float32(0.4 / 255)).astype(np.float32)
    assert np.array_equal(_restored(path, nudged), _restored(path, level))


def test_metadata_are_appended(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "described.tflite"
    path.write_bytes(source.read_bytes())
    describe(path, "a network", {"A": b"one", "B": b"two"})
    describe(path, "a network", {"C": b"three"})
    found = {name: read_metadata(path, name) for name in "ABC"}
    assert found == {"A": b"one", "B": b"two", "C": b"three"}
    assert b"a network" in path.read_bytes()
    image = _images(1)[0]
    before, after = (_restored(each, image) for each in (source, path))
    assert np.array_equal(before, after)
    with pytest.raises(ExportError, match=r"described\.tflite has no metadata named D"):
        read_metadata(path, "D")


@pytest.fixture(scope="module")
def observed(source: Path) -> dict[str, TensorStatistics]:
    return observe_file(source, [_channels_last(image) for image in _images()])


def test_ranges_by_hand(
    source: Path, network: _Small, observed: dict[str, TensorStatistics]
) -> None:
    """Over all images; of a summand that is rectified, only what can pass counts."""
    images = torch.from_numpy(np.concatenate(_images()))
    with torch.no_grad():
        a = network.first(images)
        h = 0.5 * network.second(a)
        restored = network.stages(images)["decoded"]
    first = next(each for each in read_operations(source) if each.kind == "CONV_2D")
    of_first = observed[first.outputs[0]]
    assert (of_first.low, of_first.high) == pytest.approx(
        (a.min().item(), a.max().item()), abs=1e-5
    )
    # Read by the second convolution, too: nothing can be cut.
    assert of_first.floor == of_first.low
    rectified = next(each for each in read_operations(source) if each.relu)
    branch = next(name for name in rectified.inputs if name != first.outputs[0])
    found = observed[branch]
    assert (found.low, found.high) == pytest.approx((h.min().item(), h.max().item()), abs=1e-5)
    assert found.floor == pytest.approx(max(h.min().item(), -a.max().item()), abs=1e-5)
    result = observed[read_operations(source)[-1].outputs[0]]
    assert (result.low, result.high) == pytest.approx(
        (restored.min().item(), restored.max().item()), abs=1e-5
    )
    image = next(each for name, each in observed.items() if "image" in name)
    assert (image.low, image.high) == (0.0, 1.0)
    assert image.counts.sum() == 3 * 3 * _SIZE * _SIZE


def test_samples_of_large_tensors(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In odd steps, so that they do not stay in some columns: here of 7 instead of 6 values."""
    monkeypatch.setattr(observe_module, "sample_size", lambda tensors, images: 128)
    found = observe_file(source, [_channels_last(image) for image in _images(2)])
    image = next(each for name, each in found.items() if "image" in name)
    assert image.counts.sum() == 2 * -(-3 * _SIZE * _SIZE // 7)


def _sum(*inputs: str, relu: bool = True, kind: str = "ADD") -> Operation:
    return Operation(kind=kind, inputs=inputs, outputs=("y",), relu=relu, rank=4, static=True)


@pytest.mark.parametrize(
    ("operations", "floors"),
    [
        ([_sum("h", "x")], {"h": -2.0, "x": -5.0}),
        ([_sum("h", "x", relu=False)], {}),
        ([_sum("h", "x", kind="MUL")], {}),
        ([_sum("h", "x"), _sum("x", "x")], {"h": -2.0}),
        ([_sum("h", "constant")], {}),
        # Where the sum is never above zero, what is left is the largest value.
        ([_sum("h", "low")], {"h": 5.0, "low": -7.0}),
        ([_sum("low", "x")], {"low": -7.0, "x": 2.0}),
    ],
)
def test_floors_by_hand(
    operations: list[Operation], floors: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A summand that is rectified counts from minus the other's largest value, read once only."""
    monkeypatch.setattr(observe_module, "read_operations", lambda path: operations)
    lows = {"h": -9.0, "x": -5.0, "low": -9.0}
    highs = {"h": 5.0, "x": 2.0, "low": -7.0}
    assert observe_module._floors(Path("unread"), lows, highs) == pytest.approx(floors)


def _recipe(placement: TflitePlacement, *float_nodes: str) -> Recipe[TflitePlacement]:
    return Recipe(placement=placement, estimator="minmax", float_nodes=float_nodes)


def _in_integers(path: Path) -> dict[str, list[bool]]:
    """Return for each kind of operation whether its results are integers, in order."""
    backend = LiteRtBackend(path, 1, keep_tensors=True)
    types = {d["name"]: d["dtype"] for d in backend._interpreter.get_tensor_details()}
    found: dict[str, list[bool]] = {}
    for each in read_operations(path):
        if each.kind in ("CONV_2D", "TRANSPOSE_CONV", "ADD"):
            found.setdefault(each.kind, []).append(types[each.outputs[0]] == np.int8)
    return found


def test_placements(source: Path, observed: dict[str, TensorStatistics], tmp_path: Path) -> None:
    """Which operations compute in integers, how near the result is, and that floats stay."""
    ranges = {name: each.estimate("minmax") for name, each in observed.items()}
    image = _images(1)[0]
    expected = _restored(source, image)
    first = next(each for each in read_operations(source) if each.kind == "CONV_2D").outputs[0]
    convolutions = {"CONV_2D": [True, True], "TRANSPOSE_CONV": [True]}
    for placement, floats, wanted in (
        (TflitePlacement.INTEGER, (), {**convolutions, "ADD": [True, True]}),
        (TflitePlacement.SUMS, (), {**convolutions, "ADD": [False, False]}),
        (TflitePlacement.CONVOLUTIONS, (), {**convolutions, "ADD": [False, False]}),
        (
            TflitePlacement.CONVOLUTIONS,
            (first,),
            {**convolutions, "CONV_2D": [False, True], "ADD": [False, False]},
        ),
    ):
        path = tmp_path / f"{placement}-{len(floats)}.tflite"
        quantize_file(source, ranges, _recipe(placement, *floats), path)
        assert _in_integers(path) == wanted, placement
        got = _restored(path, image)
        assert 1e-6 < np.abs(got - expected).max() < 0.05, placement
    dynamic = tmp_path / "dynamic.tflite"
    quantize_file(source, ranges, _recipe(TflitePlacement.DYNAMIC), dynamic)
    assert not any(any(found) for found in _in_integers(dynamic).values())
    assert dynamic.stat().st_size < source.stat().st_size
    got = _restored(dynamic, image)
    assert 1e-6 < np.abs(got - expected).max() < 0.05


def test_a_tensor_that_is_always_zero(
    source: Path, observed: dict[str, TensorStatistics], tmp_path: Path
) -> None:
    """It would have a scale of zero: it gets a thousandth as its range."""
    ranges = {name: each.estimate("minmax") for name, each in observed.items()}
    name = read_operations(source)[-1].outputs[0]
    path = tmp_path / "zero.tflite"
    quantize_file(source, {**ranges, name: (0.0, 0.0)}, _recipe(TflitePlacement.INTEGER), path)
    backend = LiteRtBackend(path, 1, keep_tensors=True)
    scales = [
        detail["quantization"][0]
        for detail in backend._interpreter.get_tensor_details()
        if detail["quantization"][0] and detail["quantization"][0] < 1e-5
    ]
    assert scales == pytest.approx([1e-3 / 255] * len(scales), rel=0.02)
    assert scales


def test_halves(source: Path, tmp_path: Path) -> None:
    """Weights in fp16, arithmetic as before."""
    path = tmp_path / "half.tflite"
    halve_file(source, path)
    image = _images(1)[0]
    expected, got = (_restored(each, image) for each in (source, path))
    assert 1e-7 < np.abs(got - expected).max() < 1e-3
    types = {d["dtype"] for d in LiteRtBackend(path, 1)._interpreter.get_tensor_details()}
    assert np.float16 in types


def test_candidates(
    source: Path, observed: dict[str, TensorStatistics], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is written for bytes; ranges are estimated once for an estimator."""
    made = TfliteCandidates(source, observed, corrected=True)
    assert made.corrected
    costs = {name: each.cost for name, each in made.convolutions.items()}
    works = {each.outputs[0]: each.work for each in read_operations(source) if each.work}
    assert costs == {name: work.macs + 32 * work.values for name, work in works.items()}
    image = _images(1)[0]
    with made.running(None) as run:
        expected = run({IMAGE: image})[RESTORED]
    asked: list[str] = []
    estimate = TensorStatistics.estimate

    def counted(self: TensorStatistics, estimator: str) -> tuple[float, float]:
        asked.append(estimator)
        return estimate(self, estimator)  # type: ignore[arg-type]

    monkeypatch.setattr(TensorStatistics, "estimate", counted)
    for placement in (TflitePlacement.INTEGER, TflitePlacement.SUMS):
        with made.running(_recipe(placement)) as run:
            got = run({IMAGE: image})[RESTORED]
        assert np.abs(got - expected.clip(0, 1)).max() < 0.05
        assert np.allclose(got * 255, np.rint(got * 255), atol=1e-3)
    assert asked == ["minmax"] * len(observed)


def test_what_xnnpack_does_not_run_is_refused(
    source: Path, observed: dict[str, TensorStatistics], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Picky(LiteRtBackend):
        def undelegated(self) -> list[str]:
            assert len(self._own_operations()) > 5  # not fused
            return ["RSQRT", "ADD", "RSQRT"]

    monkeypatch.setattr(candidates_module, "LiteRtBackend", Picky)
    made = TfliteCandidates(source, observed, corrected=False)
    with (
        pytest.raises(BackendError, match=r"XNNPACK does not run ADD, RSQRT$"),
        made.running(_recipe(TflitePlacement.INTEGER)),
    ):
        pass


@pytest.mark.parametrize("recipe", [None, _recipe(TflitePlacement.INTEGER)])
def test_files_are_released(
    recipe: Recipe[TflitePlacement] | None,
    source: Path,
    observed: dict[str, TensorStatistics],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The float32 one and those of recipes, when they are no longer run."""
    opened: list[LiteRtBackend] = []

    class Counted(LiteRtBackend):
        def __init__(self, path: Path, threads: int | None, **options: bool) -> None:
            super().__init__(path, threads, **options)
            opened.append(self)  # also the one that is asked what XNNPACK leaves

        def close(self) -> None:
            super().close()
            opened.remove(self)

    monkeypatch.setattr(candidates_module, "LiteRtBackend", Counted)
    made = TfliteCandidates(source, observed, corrected=False)
    with made.running(recipe) as run:
        run({IMAGE: _images(1)[0]})
        assert len(opened) == 1
    assert not opened
