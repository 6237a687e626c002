"""Metrics from a folder of the user's: the files there, damaged ones, and what they tell apart."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from elir_edge.data.datasets import list_images, read_rgb, to_float
from elir_edge.data.operations import FloatImage, add_noise, gaussian_blur
from elir_edge.errors import CheckpointError, ImageError, ParityError, UsageError
from elir_edge.evaluation.evaluate import open_metrics
from elir_edge.evaluation.file_metrics import inner_face, open_file_metric, read_identity
from elir_edge.metric_table import IDENTITY_FILE, LPIPS_FILE, METRICS, NIQE_FILE
from elir_edge.metric_weights import find_weights, has_weights, read_lpips, read_niqe
from elir_edge.model.lpips import LpipsSqueeze

FILES = {metric.name: metric.file for metric in METRICS.values() if metric.file}


@pytest.fixture
def weights(shared: Path) -> Path:
    return shared / "weights"


def _faces(shared: Path, count: int) -> list[FloatImage]:
    paths = list_images(shared / "data" / "faces" / "val")
    return [to_float(read_rgb(path)) for path in paths[:: len(paths) // count][:count]]


def test_the_same_face_scores_high_and_others_low(shared: Path, weights: Path) -> None:
    """A face and its blurred, noisy copy: above 0.8; 28 pairs of people: below 0.4, mean near 0."""
    embed = read_identity(weights)
    faces, rng = _faces(shared, 8), np.random.default_rng(0)
    spoilt = [add_noise(gaussian_blur(f, 2.0, kernel_size=21), 10, rng) for f in faces]
    clean, copies = (np.array([embed(f) for f in each]) for each in (faces, spoilt))
    assert np.linalg.norm(clean, axis=1) == pytest.approx(1, abs=1e-6)
    cosines = clean @ copies.T
    others = cosines[~np.eye(8, dtype=bool)]
    assert np.diag(cosines).min() > 0.8
    assert others.max() < 0.4
    assert abs(others.mean()) < 0.15
    score = open_file_metric("ids-mobilefacenet", weights)
    assert score(spoilt[0], faces[0]) == pytest.approx(cosines[0, 0], abs=1e-6)
    assert score(faces[0], faces[0]) == pytest.approx(1, abs=1e-6)
    # The twin: a face turned upside down is nobody's.
    assert score(np.ascontiguousarray(faces[0][::-1]), faces[0]) < 0.8


def test_a_face_has_the_same_inner_part_at_every_size() -> None:
    face = np.zeros((512, 512, 3), np.float32)
    face[70:446, 64:440] = 1
    assert inner_face(face).shape == (112, 112, 3)
    assert inner_face(face).min() == 1
    assert inner_face(face[::2, ::2]).min() == 1


def test_lpips_squeeze(shared: Path, weights: Path) -> None:
    score = open_file_metric("lpips-squeeze", weights)
    (face,) = _faces(shared, 1)
    assert score(face, face) == 0
    near, far = (add_noise(face, sigma, np.random.default_rng(0)) for sigma in (5, 50))
    assert 0 < score(near, face) < score(far, face)
    with pytest.raises(ParityError, match="lpips-squeeze compares images of one size"):
        score(face, face[:100])
    with pytest.raises(ImageError, match="expected at least 32 x 32"):
        score(face[:16], face[:16])


def test_what_is_opened_from_the_folder_is_named(weights: Path) -> None:
    opened = open_metrics(list(FILES), weights=weights)
    assert list(opened.image) == ["psnr", "ssim-y", "lpips-squeeze", "niqe", "ids-mobilefacenet"]
    assert opened.files == FILES


def test_files_that_are_missing(tmp_path: Path) -> None:
    for name, file in FILES.items():
        with pytest.raises(UsageError, match=f"no {file} in .* or below it"):
            open_file_metric(name, tmp_path)
    with pytest.raises(UsageError, match=f"needs {IDENTITY_FILE}; .*--metric-weights"):
        open_metrics(["ids-mobilefacenet"])
    with pytest.raises(UsageError, match="no folder"):
        open_metrics(["niqe"], weights=tmp_path / "none")
    with pytest.raises(UsageError, match="'musiq'"):
        open_file_metric("musiq", tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_damaged_files_are_named(name: str, kind: str, weights: Path, tmp_path: Path) -> None:
    (whole,) = weights.rglob(FILES[name])
    content = whole.read_bytes()
    damaged = {"empty": b"", "text": b"<html>", "cut": content[: len(content) // 2]}[kind]
    (tmp_path / whole.name).write_bytes(damaged)
    with pytest.raises(CheckpointError, match=f"{whole.name} does not hold .*copy the file again"):
        open_file_metric(name, tmp_path)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    path = tmp_path / NIQE_FILE
    arrays = {"mu_pris_param": np.zeros((1, 36)), "cov_pris_param": np.eye(36)}
    np.savez(path, **arrays)
    assert read_niqe(tmp_path).mean.shape == (36,)
    np.savez(path, **arrays | {"mu_pris_param": np.zeros((1, 35))})
    with pytest.raises(CheckpointError, match=r"mu_pris_param is \(1, 35\), not \(1, 36\)"):
        read_niqe(tmp_path)
    np.savez(path, **arrays | {"cov_pris_param": np.full((36, 36), np.nan)})
    with pytest.raises(CheckpointError, match="not finite"):
        read_niqe(tmp_path)
    np.savez(path, mu_pris_param=arrays["mu_pris_param"])
    with pytest.raises(CheckpointError, match="cov_pris_param"):
        read_niqe(tmp_path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CheckpointError, match="does not hold NIQE's parameters"):
        read_niqe(tmp_path)


def test_another_network_is_no_identity(tiny_bundle: Path, tmp_path: Path) -> None:
    (model,) = tiny_bundle.glob("*.onnx")
    shutil.copy(model, tmp_path / IDENTITY_FILE)
    with pytest.raises(CheckpointError, match="does not hold MobileFaceNet"):
        read_identity(tmp_path)


def _small_identity(path: Path) -> np.ndarray:
    """Write a network that projects the mean colour to 128 numbers; return the projection."""
    projection = np.random.default_rng(0).standard_normal((3, 128)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("GlobalAveragePool", ["input0"], ["mean"]),
            onnx.helper.make_node("Flatten", ["mean"], ["flat"]),
            onnx.helper.make_node("MatMul", ["flat", "projection"], ["output"]),
        ],
        "identity",
        [onnx.helper.make_tensor_value_info("input0", 1, [1, 3, 112, 112])],
        [onnx.helper.make_tensor_value_info("output", 1, [1, 128])],
        [onnx.numpy_helper.from_array(projection, "projection")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    return projection


def test_what_a_recogniser_is_given(tmp_path: Path) -> None:
    """Colours less ImageNet's mean over its deviation, RGB; the embedding has length 1."""
    projection = _small_identity(tmp_path / IDENTITY_FILE)
    colour = np.array([0.9, 0.4, 0.1], np.float32)
    found = read_identity(tmp_path)(np.full((112, 112, 3), colour, np.float32))
    scaled = (colour - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = scaled @ projection
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    other = scaled[::-1] @ projection
    assert found != pytest.approx(other / np.linalg.norm(other), abs=1e-5)


def test_an_identity_of_another_length(tmp_path: Path) -> None:
    _small_identity(tmp_path / IDENTITY_FILE)
    model = onnx.load(tmp_path / IDENTITY_FILE)
    short = np.ones((3, 127), np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(short, "projection"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 127
    onnx.save(model, tmp_path / IDENTITY_FILE)
    with pytest.raises(CheckpointError, match="127 numbers, not 128 finite ones"):
        read_identity(tmp_path)


def test_where_files_are_looked_for(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert not has_weights(tmp_path, NIQE_FILE)
    (deep / NIQE_FILE).touch()
    assert find_weights(tmp_path, NIQE_FILE) == deep / NIQE_FILE
    assert has_weights(tmp_path, NIQE_FILE)


def test_the_inner_face_s_box() -> None:
    """Rows and columns of the 512 face that a recogniser sees, to the pixel."""
    face = np.zeros((512, 512, 3), np.float32)
    face[70:446, 64:440] = 1
    assert inner_face(face).min() == 1
    for box in ((75, 446, 64, 440), (70, 440, 64, 440), (70, 446, 69, 440), (70, 446, 64, 435)):
        face = np.zeros((512, 512, 3), np.float32)
        face[box[0] : box[1], box[2] : box[3]] = 1
        assert inner_face(face).min() < 1


def test_pairs_of_other_sizes_are_refused_only_where_they_are_compared(tmp_path: Path) -> None:
    _small_identity(tmp_path / IDENTITY_FILE)
    score = open_file_metric("ids-mobilefacenet", tmp_path)
    face = np.random.default_rng(0).random((128, 128, 3), dtype=np.float32)
    assert score(face, face) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ParityError, match=r"compares images of one size; got \(128, 128, 3\) and"):
        score(face, face[:96])
    arrays = {"mu_pris_param": np.zeros((1, 36)), "cov_pris_param": np.eye(36)}
    np.savez(tmp_path / NIQE_FILE, **arrays)
    alone = open_file_metric("niqe", tmp_path)
    assert alone(face, face[:32]) == alone(face, face)


def test_a_file_that_the_runtime_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).write_bytes(b"no network")
    with pytest.raises(CheckpointError, match=r"does not hold MobileFaceNet .*copy the file again"):
        read_identity(tmp_path)


def test_lpips_files_that_hold_something_else(tmp_path: Path) -> None:
    path = tmp_path / LPIPS_FILE
    state = LpipsSqueeze().state_dict()
    save_file(state, path)
    assert not any(parameter.requires_grad for parameter in read_lpips(tmp_path).parameters())
    first = next(iter(state))
    save_file(state | {first: torch.full_like(state[first], float("inf"))}, path)
    with pytest.raises(CheckpointError, match="holds values that are not finite"):
        read_lpips(tmp_path)
    save_file({first: state[first]}, path)
    with pytest.raises(CheckpointError, match=r"does not hold LPIPS on SqueezeNet \(Error"):
        read_lpips(tmp_path)
