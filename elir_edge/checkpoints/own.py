"""Weights on disk: own safetensors, the published `.pth` and `.ckpt` formats, and TAESD3.

The format is recognised by content, never by suffix. No code from a file can run: safetensors files
hold only data, and the other formats are read with `torch.load(weights_only=True)`.
"""

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from elir_edge.checkpoints.published import (
    abbreviate,
    from_published,
    from_tiny_autoencoder,
    is_tiny_autoencoder,
)
from elir_edge.errors import CheckpointError, ConfigError
from elir_edge.files import replacing_file, sha256_of
from elir_edge.model import Elir, ModelConfig
from elir_edge.tasks import AUTOENCODER, TASKS, get_task

FORMAT = 1
FORMAT_WITHOUT_DECODER = 2
"""Version of files without a decoder, which name an autoencoder file (and its SHA-256) for it."""

_HEADER = "elir-edge"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DECODER = "decoder."
_WEIGHTS = "elir_edge.weights"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights with everything needed to use them.

    Attributes:
        task: the task that the weights were trained for, or `autoencoder`.
        config: the architecture; `expansion` is 0 for the collapsed form.
        state: the tensors by the names of `Elir.state_dict()`, float32.
        training: how the weights were trained, for the manifest; empty if unknown.
        source: where the weights come from, for messages.
        sha256: SHA-256 of the file.
    """

    task: str
    config: ModelConfig
    state: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    source: str = "memory"
    sha256: str = ""

    @property
    def degradation(self) -> str | None:
        """Name of the degradation that the model was trained on; None: the task's default."""
        recorded = self.training.get("degradation")
        return None if recorded is None else str(recorded)


@dataclass(frozen=True, kw_only=True)
class AutoencoderWeights:
    """Weights of an encoder and a decoder.

    Attributes:
        encoder: the encoder's state dict.
        decoder: the decoder's state dict.
        origins: SHA-256 of their file, and of the teacher that they were distilled from ("": none).
    """

    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    origins: tuple[str, ...] = ()


def save_checkpoint(
    path: Path, checkpoint: Checkpoint, *, dtype: torch.dtype, decoder_from: Path | None = None
) -> None:
    """Write a checkpoint in the project's own safetensors format.

    Args:
        path: the file to write.
        checkpoint: the checkpoint.
        dtype: type in which the weights are stored.
        decoder_from: an autoencoder checkpoint in the same folder with the same decoder, as all
            tasks trained from it have; the decoder is then left out of the file.

    Raises:
        CheckpointError: the decoder of `decoder_from` differs or its file is in another folder, or
            the file cannot be written (an existing file is kept).
    """
    tensors = {key: value.to(dtype).contiguous() for key, value in checkpoint.state.items()}
    header: dict[str, Any] = {
        "format": FORMAT,
        "task": checkpoint.task,
        "model": checkpoint.config.to_dict(),
        "training": checkpoint.training,
    }
    if decoder_from is not None:
        own = {k: v for k, v in tensors.items() if k.startswith(_DECODER)}
        shared = _decoder_of(decoder_from)
        same = own.keys() == shared.keys() and all(
            torch.equal(own[k], shared[k].to(dtype)) for k in own
        )
        if not same or decoder_from.parent.resolve() != path.parent.resolve():
            raise CheckpointError(
                f"the decoder of {checkpoint.source} is not the one of {decoder_from}",
                expected="a checkpoint trained from that autoencoder, saved beside it",
            )
        tensors = {k: v for k, v in tensors.items() if k not in own}
        header["format"] = FORMAT_WITHOUT_DECODER
        header["decoder"] = {"file": decoder_from.name, "sha256": sha256_of(decoder_from)}
    # A single entry, since safetensors writes several in random order.
    metadata = {_HEADER: json.dumps(header, sort_keys=True)}
    with replacing_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # also raised when the disk is full
            raise CheckpointError(
                f"{path} cannot be written ({error})", fix="make room on the disk, or pass another"
            ) from error


def embedded_path(name: str, variant: str = "nano") -> Path:
    """Return the path of the shipped checkpoint of a task (or `autoencoder`).

    Raises:
        CheckpointError: no checkpoint is shipped for this task and variant.
    """
    path = _embedded_file(name, variant)
    if not path.is_file():
        shipped = sorted(p.stem for p in path.parent.glob("*.safetensors"))
        if name == AUTOENCODER:
            raise CheckpointError(
                f"no autoencoder is shipped for the variant {variant!r}",
                fix="pass one by --autoencoder: TAESD3's file for `paper`, one of `elir-edge train "
                f"autoencoder --preset {variant}` for others",
            )
        raise CheckpointError(
            f"no {variant} checkpoint for {name!r} is shipped with this version",
            expected=f"one of {', '.join(shipped) or 'none yet'}",
            fix=f"pass a checkpoint, download the published one with `elir-edge fetch {name}`, or "
            f"train one with `elir-edge train {name} --data PHOTOS`",
        )
    return path


def is_embedded(name: str, variant: str) -> bool:
    """Tell whether weights of a variant are shipped for a task (or `autoencoder`)."""
    return _embedded_file(name, variant).is_file()


def _embedded_file(name: str, variant: str) -> Path:
    return Path(str(resources.files(_WEIGHTS) / f"{name}-{variant}.safetensors"))


def read_checkpoint(path: Path, *, task: str, any_task: bool = False) -> Checkpoint:
    """Read weights for a task from any known format.

    Args:
        path: the file.
        task: the task, or `autoencoder`.
        any_task: also accept own checkpoints that were trained for another task.

    Raises:
        CheckpointError: the file is missing, unreadable or unsafe, is for another task or
            architecture, or holds values that are not finite.
        UsageError: there is no such task.
    """
    if task != AUTOENCODER:
        get_task(task)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file {path}", fix="check the path")
    try:
        checkpoint = _read_own(path) if _is_safetensors(path) else _read_published(path, task)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if checkpoint.task != task and not (any_task and {checkpoint.task, task} <= set(TASKS)):
        raise CheckpointError(
            f"{path} was trained for another task",
            got=checkpoint.task,
            expected=task,
            fix=f"pass a checkpoint for {task}, or name the task {checkpoint.task}",
        )
    _check_finite(path, checkpoint.state)
    if task != AUTOENCODER:
        _check_keys(path, checkpoint)
    return checkpoint


def build_model(checkpoint: Checkpoint) -> Elir:
    """Return a checkpoint's model, float32 on the CPU, frozen and in evaluation mode."""
    model = Elir(checkpoint.config)
    model.load_state_dict(checkpoint.state)
    return model.eval().requires_grad_(False)


def read_autoencoder(path: Path | None, config: ModelConfig) -> AutoencoderWeights:
    """Read encoder and decoder weights that fit `config`; `path` None: the shipped autoencoder.

    Raises:
        CheckpointError: see `read_checkpoint`; or the autoencoder has other layer sizes.
    """
    path = path or embedded_path(AUTOENCODER, config.variant)
    checkpoint = read_checkpoint(path, task=AUTOENCODER)
    wanted = Elir(config)
    expected = {"encoder": wanted.encoder.state_dict(), "decoder": wanted.decoder.state_dict()}
    parts: dict[str, dict[str, Tensor]] = {}
    for part, reference in expected.items():
        parts[part] = {
            key.removeprefix(f"{part}."): value
            for key, value in checkpoint.state.items()
            if key.startswith(f"{part}.")
        }
        _compare(path, parts[part], reference)
    return AutoencoderWeights(
        encoder=parts["encoder"],
        decoder=parts["decoder"],
        origins=(checkpoint.sha256, str(checkpoint.training.get("teacher", ""))),
    )


def build_autoencoder(path: Path) -> tuple[Checkpoint, Elir]:
    """Return an autoencoder's checkpoint and a model whose encoder and decoder have its weights.

    Raises:
        CheckpointError: see `read_checkpoint`; or names or shapes do not fit the architecture.
    """
    checkpoint = read_checkpoint(path, task=AUTOENCODER)
    with torch.device("meta"):  # compare with the file's shapes before allocating memory
        parts = Elir(checkpoint.config).state_dict()
    parts = {k: v for k, v in parts.items() if k.startswith(("encoder.", "decoder."))}
    _compare(path, checkpoint.state, parts)
    model = Elir(checkpoint.config)
    model.load_state_dict({**model.state_dict(), **checkpoint.state})
    return checkpoint, model.eval().requires_grad_(False)


def _is_safetensors(path: Path) -> bool:
    """Check the first bytes: a little-endian header length, then the start of a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) < 9:
        return False
    (length,) = struct.unpack("<Q", start[:8])
    return start[8:9] == b"{" and length < 1 << 27


def _read_own(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            header_text = (file.metadata() or {}).get(_HEADER)
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is a damaged safetensors file ({error})", fix="copy or train it again"
        ) from error
    other = [f"{key} ({value.dtype})" for key, value in state.items() if value.dtype not in _FLOATS]
    if other:
        raise CheckpointError(
            f"{path} holds weights that are not real numbers",
            got=abbreviate(other),
            expected="float16, bfloat16, float32 or float64",
        )
    state = {key: value.float() for key, value in state.items()}
    if header_text is None and is_tiny_autoencoder(state):
        config, state = from_tiny_autoencoder(path, state)
        return Checkpoint(
            task=AUTOENCODER,
            config=config,
            state=state,
            source=path.name,
            sha256=sha256_of(path),
        )
    if header_text is None:
        raise CheckpointError(f"{path} holds safetensors of another program")
    try:
        header = json.loads(header_text)
        version, task, training = header["format"], header["task"], header["training"]
        config = ModelConfig.from_dict(header["model"])
        decoder = header["decoder"] if version == FORMAT_WITHOUT_DECODER else None
        decoder_file = Path(decoder["file"]).name if decoder else ""
        decoder_hash = str(decoder["sha256"]) if decoder else ""
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path} has a damaged header ({error})") from error
    if version not in (FORMAT, FORMAT_WITHOUT_DECODER):
        raise CheckpointError(
            f"{path} is of another format",
            got=f"version {version!r}",
            expected=f"{FORMAT} or {FORMAT_WITHOUT_DECODER}",
        )
    if decoder_file and task == AUTOENCODER:
        raise CheckpointError(f"{path} is an autoencoder without a decoder")
    if decoder_file:
        state |= _shared_decoder(path, path.parent / decoder_file, decoder_hash)
    return Checkpoint(
        task=task,
        config=config,
        state=state,
        training=training,
        source=path.name,
        sha256=sha256_of(path),
    )


def _shared_decoder(path: Path, shared: Path, sha256: str) -> dict[str, Tensor]:
    if not shared.is_file():
        raise CheckpointError(
            f"{path} keeps its decoder in {shared.name}, which is not beside it",
            fix=f"copy {shared.name} into {shared.parent}",
        )
    if sha256_of(shared) != sha256:
        raise CheckpointError(
            f"{shared} is not the file that {path.name} was made with",
            got=f"SHA-256 {sha256_of(shared)}",
            expected=sha256,
        )
    return _decoder_of(shared)


def _decoder_of(path: Path) -> dict[str, Tensor]:
    state = read_checkpoint(path, task=AUTOENCODER).state
    return {key: value for key, value in state.items() if key.startswith(_DECODER)}


def _read_published(path: Path, task: str) -> Checkpoint:
    if task == AUTOENCODER:
        raise CheckpointError(
            f"{path} is not an autoencoder's checkpoint",
            expected="safetensors of elir-edge, or TAESD3's diffusers file",
        )
    config, state = from_published(path, _load_tensors(path), task)
    return Checkpoint(
        task=task, config=config, state=state, source=path.name, sha256=sha256_of(path)
    )


def _load_tensors(path: Path) -> Mapping[str, Any]:
    """Unpickle a file that may contain only tensors and plain containers."""
    refused = CheckpointError(
        f"{path} is not a checkpoint that can be read safely",
        expected="safetensors of elir-edge, or a PyTorch file of tensors (.pth, .ckpt)",
        fix="download it again, e.g. by `elir-edge fetch`; files that need code are refused",
    )
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except (
        pickle.UnpicklingError,
        SafetensorError,  # torch itself reads files with this suffix
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        raise refused from error
    except (KeyError, IndexError, AttributeError, TypeError, UnicodeDecodeError) as error:
        # These are what torch's restricted unpickler raises on bytes that are not a pickle.
        raise refused from error
    if not isinstance(loaded, Mapping):
        raise refused
    return loaded


def _check_keys(path: Path, checkpoint: Checkpoint) -> None:
    with torch.device("meta"):
        reference = Elir(checkpoint.config).state_dict()
    _compare(path, checkpoint.state, reference)


def _compare(path: Path, state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> None:
    """Require that both state dicts have the same names and shapes; list the differences."""
    missing = sorted(set(reference) - set(state))
    unexpected = sorted(set(state) - set(reference))
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(reference[key].shape)}"
        for key in sorted(set(state) & set(reference))
        if state[key].shape != reference[key].shape
    ]
    problems = [
        f"{label} {abbreviate(names)}"
        for label, names in (
            (f"{len(missing)} missing:", missing),
            (f"{len(unexpected)} unexpected:", unexpected),
            (f"{len(shapes)} of another shape:", shapes),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{path} does not fit its architecture", got="; ".join(problems))


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{path} holds values that are not finite in {len(bad)} of {len(state)} tensors",
            got=abbreviate(bad),
            fix="use a checkpoint from before the training diverged",
        )
