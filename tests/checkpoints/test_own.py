"""Every form of weights that loads, and everything that must not."""

import dataclasses
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import elir_edge.checkpoints.own as checkpoint_module
from elir_edge.checkpoints.own import (
    Checkpoint,
    build_autoencoder,
    build_model,
    embedded_path,
    is_embedded,
    read_autoencoder,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.checkpoints.published import abbreviate
from elir_edge.errors import CheckpointError, UsageError
from elir_edge.model import collapse, draw_noise, paper_config_for
from elir_edge.tasks import AUTOENCODER, TASKS
from tests.attacks import Malicious
from tests.conftest import make_model, tiny_config
from tests.published import as_ckpt, published_shapes, synthetic_state

PUBLISHED = {"sr": (128, 1), "bfr": (128, 3), "bsr": (96, 1)}


def _own(path: Path, task: str = "denoising", dtype: torch.dtype = torch.float32) -> Path:
    model = make_model(tiny_config())
    checkpoint = Checkpoint(task=task, config=model.config, state=model.state_dict())
    save_checkpoint(path, checkpoint, dtype=dtype)
    return path


def _zeros(task: str) -> dict[str, torch.Tensor]:
    shapes = published_shapes(*PUBLISHED[task], training=False)
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.float16, 1e-3)])
def test_own_form_round_trip(dtype: torch.dtype, tolerance: float, tmp_path: Path) -> None:
    model = make_model(tiny_config())
    read = read_checkpoint(_own(tmp_path / "c.bin", dtype=dtype), task="denoising")
    assert read.config == model.config
    for key, value in model.state_dict().items():
        assert read.state[key].dtype == torch.float32
        assert (read.state[key] - value).abs().max() <= tolerance, key
    assert len(read.sha256) == 64
    built = build_model(read)
    assert not built.training
    assert not any(parameter.requires_grad for parameter in built.parameters())


@pytest.mark.parametrize("failure", [SafetensorError, OSError, KeyboardInterrupt])
def test_a_save_that_fails_keeps_the_file_before(
    failure: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _own(tmp_path / "c.safetensors")
    before, checkpoint = path.read_bytes(), read_checkpoint(path, task="denoising")

    def write_half(tensors: object, target: Path, metadata: object) -> None:
        Path(target).write_bytes(b"half")
        raise failure("No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", write_half)
    with pytest.raises(CheckpointError if failure is SafetensorError else failure):
        save_checkpoint(path, checkpoint, dtype=torch.float16)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_a_checkpoint_learned_to_undo() -> None:
    """As recorded; else it is not known."""

    def learned(task: str, training: dict[str, object]) -> str | None:
        return Checkpoint(task=task, config=tiny_config(), state={}, training=training).degradation

    assert learned("denoising", {"config": {}, "degradation": "broad"}) == "broad"
    assert learned("bfr", {"config": {}, "degradation": "published"}) == "published"
    assert learned("bfr", {}) is None
    assert learned("sr", {"config": {}}) is None


def test_saving_is_deterministic(tmp_path: Path) -> None:
    first, second = _own(tmp_path / "a"), _own(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sr", (128, 1, False)),
        ("bfr", (128, 3, False)),
        ("bsr", (96, 1, False)),
        ("sr_training", (128, 1, True)),
    ],
)
def test_key_lists_are_the_published_ones(
    name: str, arguments: tuple[int, int, bool], shared: Path
) -> None:
    width, mid_blocks, training = arguments
    official = json.loads((shared / "official" / f"state_dict_{name}.json").read_text())
    assert published_shapes(width, mid_blocks, training=training) == official


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_pth_loads_exactly(task: str, tmp_path: Path) -> None:
    path = tmp_path / "elir.bin"
    state = _zeros(task)
    torch.save(state, path)
    read = read_checkpoint(path, task=task)
    assert len(read.state) == len(state)
    assert sum(v.numel() for v in read.state.values()) == sum(v.numel() for v in state.values())
    assert read.config.expansion == 0


@pytest.mark.parametrize("task", ["denoising", "inpainting"])
def test_tasks_of_the_same_sizes_share_a_form(task: str, tmp_path: Path) -> None:
    path = tmp_path / "elir.pth"
    torch.save(_zeros("sr"), path)
    assert read_checkpoint(path, task=task).config.num_steps == 3


@pytest.mark.parametrize(
    ("task", "sigma_s"), [("denoising", 0.025), ("sr", 0.1), ("inpainting", 0.1), ("bsr", 0.04)]
)
def test_published_checkpoints_run_with_their_own_noise(
    task: str, sigma_s: float, tmp_path: Path
) -> None:
    """16,384 draws: the deviation of what is added to the latent is within 2 % of sigma_s."""
    path = tmp_path / "elir.pth"
    torch.save(_zeros("bsr" if task == "bsr" else "sr"), path)
    noise = draw_noise(read_checkpoint(path, task=task).config, 256, 256)
    assert noise.std().item() == pytest.approx(sigma_s, rel=0.02)


def test_own_checkpoints_keep_the_noise_they_were_trained_with(tmp_path: Path) -> None:
    """One trained with four times the published sigma_s."""
    own = read_checkpoint(embedded_path("denoising", "sensor"), task="denoising")
    config = dataclasses.replace(own.config, sigma_s=0.1)
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, dataclasses.replace(own, config=config), dtype=torch.float16)
    config = read_checkpoint(path, task="denoising").config
    assert config.sigma_s == 0.1 != TASKS["denoising"].sigma_s


def test_published_references(shared: Path, tmp_path: Path) -> None:
    golden = np.load(shared / "official" / "golden_sr.npz")
    path = tmp_path / "elir_sr.pth"
    state = synthetic_state(published_shapes(128, 1, training=False))
    torch.save(state, path)
    model = build_model(read_checkpoint(path, task="sr"))
    x, noise = torch.from_numpy(golden["x"]), torch.from_numpy(golden["noise"])
    with torch.no_grad():
        outputs = {
            "latent": model.encoder(x),
            "coarse": model.initial_point(x),
            "y": model(x, noise),
        }
    for name, value in outputs.items():
        difference = np.abs(value.numpy() - golden[name]).max()
        print(f"{name}: largest difference {difference:.2e}")
        assert difference <= 1e-4, name
    # The twin: one convolution of the decoder off by a tenth.
    model.decoder.layers[0].bias.data += 0.1
    with torch.no_grad():
        assert np.abs(model(x, noise).numpy() - golden["y"]).max() > 1e-4


def test_published_training_reference(shared: Path, tmp_path: Path) -> None:
    golden = np.load(shared / "official" / "golden_sr_training.npz")
    path = tmp_path / "last.ckpt"
    torch.save(as_ckpt(synthetic_state(published_shapes(128, 1, training=True))), path)
    model = build_model(read_checkpoint(path, task="sr"))
    assert model.config.expansion == 4
    x, noise = torch.from_numpy(golden["x"]), torch.from_numpy(golden["noise"])
    with torch.no_grad():
        expanded, collapsed = model(x, noise), collapse(model)(x, noise)
    for name, value in (("y", expanded), ("y_collapsed", collapsed)):
        difference = np.abs(value.numpy() - golden[name]).max()
        print(f"{name}: largest difference {difference:.2e}")
        assert difference <= 1e-4, name
    assert np.abs(collapsed.numpy() - golden["y"][:, :, ::-1]).max() > 1e-4


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        read_checkpoint(tmp_path / "none.pth", task="sr")


def test_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown task"):
        read_checkpoint(_own(tmp_path / "c"), task="deblurring")


def _pickled(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"fmir.x": Malicious(marker)}, protocol=2))


def _zipped(path: Path, marker: Path) -> None:
    torch.save({"fmir.x": Malicious(marker)}, path)


@pytest.mark.parametrize("write", [_pickled, _zipped])
def test_a_pickle_with_code_is_refused_and_not_run(write: object, tmp_path: Path) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "marker"
    write(path, marker)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match="can be read safely"):
        read_checkpoint(path, task="sr")
    assert not marker.exists()
    # The twin: the same file does run its code when loaded without the restriction.
    if write is _zipped:
        torch.load(path, weights_only=False)
        assert marker.exists()


def _random_bytes() -> bytes:
    return np.random.default_rng(0).bytes(4096)


def _other_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("greeting.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"this is a text file, renamed\n" * 30, _random_bytes(), _other_zip()],
    ids=["empty", "one byte", "text", "random", "zip"],
)
def test_files_that_are_no_checkpoints(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, task="sr")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ((1 << 27) - 1, "is a damaged safetensors file"),
        (1 << 27, "is not a checkpoint that can be read safely"),
    ],
)
def test_headers_of_128_megabytes_are_no_safetensors(
    length: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.bin"
    path.write_bytes(struct.pack("<Q", length) + b"{")
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(path, task="sr")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files(share: float, tmp_path: Path) -> None:
    own = _own(tmp_path / "own.safetensors")
    published = tmp_path / "elir.pth"
    torch.save({"fmir.x": torch.zeros(2000)}, published)
    for path in (own, published):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(CheckpointError):
            read_checkpoint(path, task="denoising")


@pytest.mark.parametrize("loaded", [[1, 2], 3.5, torch.zeros(3), {}, {"fmir.x": 5}, {1: 2}])
def test_safe_content_that_is_no_state_dict(loaded: object, tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save(loaded, path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path, task="sr")


def test_safetensors_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="another program"):
        read_checkpoint(path, task="sr")


def test_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    header = {"format": 1, "task": "sr", "training": {}, "model": {"variant": "x", "legs": 4}}
    save_file({"weight": torch.zeros(3)}, path, metadata={"elir-edge": json.dumps(header)})
    with pytest.raises(CheckpointError, match=r"damaged header.*legs"):
        read_checkpoint(path, task="sr")


def test_another_task_of_our_own(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another task; got denoising; expected sr"):
        read_checkpoint(_own(tmp_path / "c"), task="sr")


def test_another_task_of_the_published(tmp_path: Path) -> None:
    path = tmp_path / "elir_bfr.pth"
    torch.save(_zeros("bfr"), path)
    with pytest.raises(CheckpointError, match=r"as published for bfr\)"):
        read_checkpoint(path, task="sr")


@pytest.mark.parametrize("first", [None, torch.zeros(())])
def test_the_width_is_read_from_the_first_layer(first: torch.Tensor | None, tmp_path: Path) -> None:
    state = _zeros("sr")
    del state["fmir.first_proj.weight"]
    if first is not None:
        state["fmir.first_proj.weight"] = first
    path = tmp_path / "c.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"lacks a usable velocity\.in_proj\.weight"):
        read_checkpoint(path, task="sr")


def test_missing_and_unexpected_keys_are_listed(tmp_path: Path) -> None:
    state = _zeros("sr")
    del state["enc.layers.0.bias"]
    state["dec.layers.99.weight"] = torch.zeros(1)
    path = tmp_path / "c.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, task="sr")
    assert "1 missing: encoder.layers.0.bias" in str(caught.value)
    assert "1 unexpected: decoder.layers.99.weight" in str(caught.value)


def test_wrong_shapes_are_listed(tmp_path: Path) -> None:
    state = _zeros("sr")
    state["enc.layers.0.bias"] = torch.zeros(63)
    path = tmp_path / "c.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"encoder.layers.0.bias \(63,\) instead of \(64,\)"):
        read_checkpoint(path, task="sr")


def test_a_ckpt_without_a_part(tmp_path: Path) -> None:
    parts = as_ckpt(_zeros("sr"))
    del parts["state_dict_dec"]
    path = tmp_path / "c.ckpt"
    torch.save(parts, path)
    with pytest.raises(CheckpointError, match="lacks state_dict_dec"):
        read_checkpoint(path, task="sr")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(bad: float, tmp_path: Path) -> None:
    model = make_model(tiny_config())
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["encoder.layers.0.weight"].view(-1)[3] = bad
    path = tmp_path / "c"
    checkpoint = Checkpoint(task="sr", config=model.config, state=state)
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    with pytest.raises(CheckpointError, match=r"not finite in 1 of \d+.*encoder.layers.0.weight"):
        read_checkpoint(path, task="sr")


def test_an_autoencoder_of_other_sizes(tmp_path: Path) -> None:
    model = make_model(tiny_config())
    parts = ("encoder.", "decoder.")
    state = {k: v for k, v in model.state_dict().items() if k.startswith(parts)}
    path = tmp_path / "ae"
    checkpoint = Checkpoint(task=AUTOENCODER, config=model.config, state=state)
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    start = read_autoencoder(path, tiny_config())
    assert start.encoder.keys() == model.encoder.state_dict().keys()
    with pytest.raises(CheckpointError, match="does not fit"):
        read_autoencoder(path, type(model.config)(variant="other"))


# A decoder shared with the autoencoder's file


@pytest.fixture
def beside(tmp_path: Path) -> tuple[Path, Checkpoint]:
    """Return an autoencoder's file and a checkpoint of a task that has its decoder."""
    model = make_model(tiny_config())
    state = model.half().float().state_dict()
    parts = {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
    path = tmp_path / "autoencoder.safetensors"
    autoencoder = Checkpoint(task="autoencoder", config=model.config, state=parts)
    save_checkpoint(path, autoencoder, dtype=torch.float16)
    changed = {k: v + 0.5 if k.startswith("encoder.") else v for k, v in state.items()}
    return path, Checkpoint(task="sr", config=model.config, state=changed)


def test_a_shared_decoder_is_left_out_and_found(
    beside: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    autoencoder, checkpoint = beside
    whole, shared = tmp_path / "whole.safetensors", tmp_path / "shared.safetensors"
    save_checkpoint(whole, checkpoint, dtype=torch.float16)
    save_checkpoint(shared, checkpoint, dtype=torch.float16, decoder_from=autoencoder)
    assert shared.stat().st_size < whole.stat().st_size
    read = [read_checkpoint(path, task="sr").state for path in (whole, shared)]
    assert read[0].keys() == read[1].keys()
    assert all(torch.equal(read[0][key], read[1][key]) for key in read[0])


def test_another_decoder_is_not_left_out(beside: tuple[Path, Checkpoint], tmp_path: Path) -> None:
    autoencoder, checkpoint = beside
    key = next(k for k in checkpoint.state if k.startswith("decoder."))
    checkpoint.state[key] = checkpoint.state[key] + 0.01
    with pytest.raises(CheckpointError, match="is not the one of"):
        save_checkpoint(
            tmp_path / "x.safetensors", checkpoint, dtype=torch.float16, decoder_from=autoencoder
        )
    assert not (tmp_path / "x.safetensors").exists()


def test_a_shared_decoder_that_is_missing_or_changed(
    beside: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    autoencoder, checkpoint = beside
    path = tmp_path / "shared.safetensors"
    save_checkpoint(path, checkpoint, dtype=torch.float16, decoder_from=autoencoder)
    content = bytearray(autoencoder.read_bytes())
    content[-1] ^= 1
    autoencoder.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not the file that shared\.safetensors"):
        read_checkpoint(path, task="sr")
    autoencoder.unlink()
    with pytest.raises(CheckpointError, match=r"keeps its decoder in autoencoder\.safetensors"):
        read_checkpoint(path, task="sr")


def test_a_decoder_in_another_folder_is_not_shared(
    beside: tuple[Path, Checkpoint], tmp_path: Path
) -> None:
    autoencoder, checkpoint = beside
    path = tmp_path / "elsewhere" / "x.safetensors"
    path.parent.mkdir()
    with pytest.raises(CheckpointError, match="saved beside it"):
        save_checkpoint(path, checkpoint, dtype=torch.float16, decoder_from=autoencoder)
    assert not path.exists()
    # Nor is one read: a header's path is taken for a name in the checkpoint's own folder.
    beside_it = tmp_path / "shared.safetensors"
    save_checkpoint(beside_it, checkpoint, dtype=torch.float16, decoder_from=autoencoder)
    with safe_open(beside_it, framework="pt") as file:
        header = json.loads(file.metadata()["elir-edge"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    header["decoder"]["file"] = f"../{tmp_path.name}/{autoencoder.name}"
    save_file(tensors, path, metadata={"elir-edge": json.dumps(header)})
    with pytest.raises(
        CheckpointError, match=r"keeps its decoder in autoencoder\.safetensors, which"
    ):
        read_checkpoint(path, task="sr")


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_format_is_named(version: object, tmp_path: Path) -> None:
    path = _own(tmp_path / "c.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["elir-edge"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"elir-edge": json.dumps({**header, "format": version})})
    with pytest.raises(
        CheckpointError, match=r"is of another format; got version .*expected 1 or 2"
    ):
        read_checkpoint(path, task="denoising")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("variant", "x/../../../pwn", "impossible name"),
        ("num_steps", 10**9, "num_steps 1000000000"),
        ("autoencoder_widths", [10**9] * 3, "autoencoder_widths"),
        ("velocity_mid_blocks", 10**9, "velocity_mid_blocks"),
        ("coarse_width", "8", "coarse_width"),
    ],
)
@pytest.mark.parametrize("task", ["denoising", AUTOENCODER])
def test_headers_that_ask_for_too_much(
    field: str, value: object, message: str, task: str, tmp_path: Path
) -> None:
    path = _own(tmp_path / "c.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["elir-edge"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    header["task"], header["model"] = task, {**header["model"], field: value}
    save_file(tensors, path, metadata={"elir-edge": json.dumps(header)})
    with pytest.raises(CheckpointError, match=f"damaged header.*{message}"):
        read_checkpoint(path, task=task)


def test_large_headers_with_few_weights_take_no_memory(tmp_path: Path) -> None:
    """2,048 wide and 64 blocks at each level is 40 GB: the names and shapes are compared first."""
    path = _own(tmp_path / "c.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["elir-edge"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    large = {"autoencoder_widths": [2048] * 3, "autoencoder_blocks": [64] * 3}
    header["task"], header["model"] = AUTOENCODER, {**header["model"], **large}
    save_file(tensors, path, metadata={"elir-edge": json.dumps(header)})
    with pytest.raises(CheckpointError, match="does not fit its architecture"):
        build_autoencoder(path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64], ids=str)
def test_weights_that_are_no_real_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    path = _own(tmp_path / "c.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = next(iter(tensors))
    tensors[key] = tensors[key].to(dtype)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="not real numbers"):
        read_checkpoint(path, task="denoising")


def test_a_turned_weight_of_as_many_values_is_refused(tmp_path: Path) -> None:
    path = _own(tmp_path / "c.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = next(k for k, v in tensors.items() if v.dim() == 4 and v.shape != v.shape[::-1])
    tensors[key] = tensors[key].reshape(tensors[key].shape[::-1]).contiguous()
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match="1 of another shape"):
        read_checkpoint(path, task="denoising")


# The autoencoder that the published checkpoints start from


def test_taesd3_as_diffusers_has_it(tmp_path: Path) -> None:
    shapes = published_shapes(*PUBLISHED["sr"], training=False)
    sr = synthetic_state({k: v for k, v in shapes.items() if k[:4] in ("enc.", "dec.")})
    names = {"enc.": "encoder.", "dec.": "decoder."}
    tiny = {names[k[:4]] + k[4:]: v for k, v in sr.items()}
    save_file(tiny, tmp_path / "taesd3.safetensors")
    config = paper_config_for("bfr", num_steps=5, sigma_s=0.1)
    start = read_autoencoder(tmp_path / "taesd3.safetensors", config)
    key = "layers.1.convs.0.weight"
    assert torch.equal(start.encoder[key], sr["enc.layers.1.conv.0.weight"])
    assert torch.equal(start.decoder["layers.0.bias"], sr["dec.layers.0.bias"])
    del tiny["decoder.layers.0.bias"]
    save_file(tiny, tmp_path / "cut.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing: layers\.0\.bias"):
        read_autoencoder(tmp_path / "cut.safetensors", config)


@pytest.mark.parametrize(("count", "text"), [(5, "0, 1, 2, 3, 4"), (7, "0, 1, 2, 3, 4 and 2 more")])
def test_long_lists_are_cut(count: int, text: str) -> None:
    assert abbreviate(list(range(count))) == text
    assert abbreviate(list(range(count)), limit=count) == ", ".join(map(str, range(count)))


@pytest.mark.parametrize("content", [b"", b"\x01" * 8, b"\x02" + b"\0" * 7 + b"{"])
def test_files_of_a_few_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "short", task="denoising")


def test_what_is_shipped_is_found_and_named() -> None:
    assert embedded_path("sr").name == "sr-nano.safetensors"
    assert embedded_path("sr", "sensor").name == "sr-sensor.safetensors"
    assert embedded_path(AUTOENCODER, "sensor").name == "autoencoder-sensor.safetensors"
    assert is_embedded("sr", "sensor")
    assert not is_embedded("bfr", "sensor")
    with pytest.raises(CheckpointError, match="no autoencoder is shipped for the variant 'paper'"):
        embedded_path(AUTOENCODER, "paper")
    with pytest.raises(CheckpointError, match=r"no huge checkpoint for 'sr' .*one of .*sr-nano"):
        embedded_path("sr", "huge")


def test_training_forms_are_expanded_by_four(tmp_path: Path) -> None:
    shapes = published_shapes(*PUBLISHED["bsr"], training=True)
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    torch.save(as_ckpt(state), tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt", task="bsr").config.expansion == 4
    torch.save(_zeros("bsr"), tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth", task="bsr").config.expansion == 0
