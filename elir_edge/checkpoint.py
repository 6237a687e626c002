"""Weights on disk: own safetensors and the published `.pth` and `.ckpt` forms.

The form is told by content, never by suffix. Nothing here can execute code from a file: safetensors
holds data only, and the other two go through `torch.load(weights_only=True)`.
"""

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from elir_edge.errors import CheckpointError, ConfigError
from elir_edge.files import replacing_file, sha256_of
from elir_edge.model import Elir, ModelConfig, paper_config_for
from elir_edge.tasks import AUTOENCODER, TASKS, get_task

FORMAT = 1

_HEADER = "elir-edge"
_WEIGHTS = "elir_edge.weights"
_PARTS = {"fmir": "velocity", "mmse": "coarse", "enc": "encoder", "dec": "decoder"}
"""Prefixes of the published state dict, and of ours."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights with everything needed to use them.

    Attributes:
        task: the task they were trained for, or `autoencoder`.
        config: their architecture; `expansion` tells the training form from the collapsed one.
        state: tensors by the names of `Elir.state_dict()`, float32.
        training: how they were made, for the manifest; empty where unknown.
        source: where they come from, for people.
        sha256: of the file.
    """

    task: str
    config: ModelConfig
    state: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    source: str = "memory"
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class AutoencoderStart:
    """State dicts of an encoder and a decoder."""

    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, dtype: torch.dtype) -> None:
    """Write own safetensors, floats stored as `dtype`."""
    tensors = {key: value.to(dtype).contiguous() for key, value in checkpoint.state.items()}
    header = {
        "format": FORMAT,
        "task": checkpoint.task,
        "model": checkpoint.config.to_dict(),
        "training": checkpoint.training,
    }
    # One entry: safetensors writes several in no particular order.
    with replacing_file(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header, sort_keys=True)})


def embedded_path(name: str, variant: str = "nano") -> Path:
    """Return the shipped checkpoint of a task (or `autoencoder`).

    Raises:
        CheckpointError: none is shipped for it.
    """
    file = resources.files(_WEIGHTS) / f"{name}-{variant}.safetensors"
    path = Path(str(file))
    if not path.is_file():
        shipped = sorted(p.stem for p in path.parent.glob("*.safetensors"))
        raise CheckpointError(
            f"no {variant} checkpoint for {name!r} is shipped with this version",
            expected=f"one of {', '.join(shipped) or 'none yet'}",
            fix=f"pass a checkpoint, download the published one with `elir-edge fetch {name}`, or "
            f"train one with `elir-edge train {name} --data PHOTOS`",
        )
    return path


def read_checkpoint(path: Path, *, task: str) -> Checkpoint:
    """Read weights for a task from any of the three forms.

    Raises:
        CheckpointError: missing, unreadable or unsafe file, another task or architecture, or
            holds values that are not finite.
        UsageError: no such task.
    """
    if task != AUTOENCODER:
        get_task(task)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file {path}", fix="check the path")
    try:
        checkpoint = _read_own(path) if _is_safetensors(path) else _read_published(path, task)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if checkpoint.task != task:
        raise CheckpointError(
            f"{path} was trained for another task",
            got=checkpoint.task,
            expected=task,
            fix=f"pass --task {checkpoint.task}, or a checkpoint for {task}",
        )
    _check_finite(path, checkpoint.state)
    if task != AUTOENCODER:
        _check_keys(path, checkpoint)
    return checkpoint


def build_model(checkpoint: Checkpoint) -> Elir:
    """Return the model of a checkpoint, float32 on the CPU, in evaluation mode."""
    model = Elir(checkpoint.config)
    model.load_state_dict(checkpoint.state)
    return model.eval().requires_grad_(False)


def read_autoencoder(path: Path | None, config: ModelConfig) -> AutoencoderStart:
    """Read encoder and decoder weights that fit `config`; `path` None: the shipped autoencoder.

    Raises:
        CheckpointError: see `read_checkpoint`; or the autoencoder is of other sizes.
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
    return AutoencoderStart(encoder=parts["encoder"], decoder=parts["decoder"])


def _is_safetensors(path: Path) -> bool:
    """Tell by the first bytes: a little-endian header length, then a JSON object."""
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
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is a damaged safetensors file ({error})", fix="copy or train it again"
        ) from error
    if header_text is None:
        raise CheckpointError(f"{path} holds safetensors of another program")
    try:
        header = json.loads(header_text)
        version, task, training = header["format"], header["task"], header["training"]
        config = ModelConfig.from_dict(header["model"])
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path} has a damaged header ({error})") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path} is of another format", got=f"version {version!r}", expected=str(FORMAT)
        )
    return Checkpoint(
        task=task,
        config=config,
        state=state,
        training=training,
        source=path.name,
        sha256=sha256_of(path),
    )


def _read_published(path: Path, task: str) -> Checkpoint:
    if task == AUTOENCODER:
        raise CheckpointError(f"{path} is not an autoencoder checkpoint of elir-edge")
    published = _flatten(path, _load_tensors(path))
    state = {_own_name(path, key): value.float() for key, value in published.items()}
    return Checkpoint(
        task=task,
        config=_published_config(path, task, state),
        state=state,
        source=path.name,
        sha256=sha256_of(path),
    )


def _load_tensors(path: Path) -> Mapping[str, Any]:
    """Unpickle with tensors and plain containers only."""
    refused = CheckpointError(
        f"{path} is not a checkpoint that can be read safely",
        expected="safetensors of elir-edge, or a PyTorch file of tensors (.pth, .ckpt)",
        fix="download it again, e.g. by `elir-edge fetch`; files that need code are refused",
    )
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        raise refused from error
    except (KeyError, IndexError, AttributeError, TypeError, UnicodeDecodeError) as error:
        # What torch's restricted unpickler raises on bytes that are no pickle at all.
        raise refused from error
    if not isinstance(loaded, Mapping):
        raise refused
    return loaded


def _flatten(path: Path, loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """Bring the `.ckpt` form (four dicts) to the `.pth` form (prefixed keys)."""
    parts = {prefix: loaded.get(f"state_dict_{prefix}") for prefix in _PARTS}
    if any(part is not None for part in parts.values()):
        missing = [f"state_dict_{prefix}" for prefix, part in parts.items() if part is None]
        if missing:
            raise CheckpointError(f"{path} lacks {', '.join(missing)}", fix="use a complete .ckpt")
        loaded = {
            f"{prefix}.{key}": value
            for prefix, part in parts.items()
            if isinstance(part, Mapping)
            for key, value in part.items()
        }
    strange = [
        key
        for key, value in loaded.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if strange or not loaded:
        raise CheckpointError(
            f"{path} is not a state dict of ELIR",
            got=f"entries {_some(strange)}" if strange else "no entries",
            expected="tensors under the prefixes fmir., mmse., enc. and dec.",
        )
    return dict(loaded)


_BLOCK = r"(?P<at>down_blocks\.\d+\.0|up_blocks\.\d+\.1|mid_blocks\.\d+)"
_RENAMES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern + r"\.(?P<leaf>weight|bias)$"), replacement)
    for pattern, replacement in [
        (r"^fmir\.time_mlp\.(?P<n>linear[12])", r"velocity.time.\g<n>"),
        (r"^fmir\.first_proj", r"velocity.in_proj"),
        (r"^fmir\.final_proj", r"velocity.out_proj"),
        (r"^fmir\.final_block\.block\.0", r"velocity.out_norm"),
        (r"^fmir\.final_block\.block\.2", r"velocity.out_conv"),
        (r"^fmir\.final_block\.block\.3", r"velocity.out_conv.project"),
        (rf"^fmir\.{_BLOCK}\.mlp\.1", r"velocity.\g<at>.time"),
        (rf"^fmir\.{_BLOCK}\.conv2d", r"velocity.\g<at>.skip"),
        (rf"^fmir\.{_BLOCK}\.block(?P<n>[12])\.block\.0", r"velocity.\g<at>.norm\g<n>"),
        (rf"^fmir\.{_BLOCK}\.block(?P<n>[12])\.block\.2", r"velocity.\g<at>.conv\g<n>"),
        (rf"^fmir\.{_BLOCK}\.block(?P<n>[12])\.block\.3", r"velocity.\g<at>.conv\g<n>.project"),
        (r"^fmir\.down_blocks\.(?P<i>\d+)\.1\.conv", r"velocity.down.\g<i>.resample"),
        (r"^fmir\.up_blocks\.(?P<i>\d+)\.0\.convtr", r"velocity.up.\g<i>.resample"),
        (
            r"^mmse\.lrm\.(?P<i>\d+)\.RDB(?P<j>[123])\.conv(?P<k>[1-5])\.block\.0",
            r"coarse.blocks.\g<i>.dense.<\g<j>>.convs.<\g<k>>",
        ),
        (
            r"^mmse\.lrm\.(?P<i>\d+)\.RDB(?P<j>[123])\.conv(?P<k>[1-5])\.block\.1",
            r"coarse.blocks.\g<i>.dense.<\g<j>>.convs.<\g<k>>.project",
        ),
        (r"^enc\.layers\.(?P<i>\d+)\.conv\.(?P<j>[024])", r"encoder.layers.\g<i>.convs.{\g<j>}"),
        (r"^dec\.layers\.(?P<i>\d+)\.conv\.(?P<j>[024])", r"decoder.layers.\g<i>.convs.{\g<j>}"),
        (r"^enc\.layers\.(?P<i>\d+)", r"encoder.layers.\g<i>"),
        (r"^dec\.layers\.(?P<i>\d+)", r"decoder.layers.\g<i>"),
    ]
]
"""Published name -> own name. `<n>` stands for n - 1 and `{n}` for n / 2 in the result."""


def _own_name(path: Path, key: str) -> str:
    for pattern, replacement in _RENAMES:
        match = pattern.match(key)
        if match:
            name = match.expand(replacement) + "." + match["leaf"]
            name = re.sub(r"<(\d+)>", lambda m: str(int(m[1]) - 1), name)
            name = re.sub(r"\{(\d+)\}", lambda m: str(int(m[1]) // 2), name)
            name = re.sub(r"\.down_blocks\.(\d+)\.0\.", r".down.\1.block.", name)
            name = re.sub(r"\.up_blocks\.(\d+)\.1\.", r".up.\1.block.", name)
            return re.sub(r"\.mid_blocks\.(\d+)\.", r".mid.\1.", name)
    raise CheckpointError(f"{path} is not a published ELIR checkpoint", got=f"entry {key!r}")


def _published_config(path: Path, task: str, state: dict[str, Tensor]) -> ModelConfig:
    """Read the sizes from the shapes, and compare them with the task's published ones."""
    expanded = [k for k in state if k.endswith(".project.weight")]
    for key in expanded:
        stem = key.removesuffix(".project.weight")
        for leaf in ("weight", "bias"):
            if f"{stem}.{leaf}" in state:
                state[f"{stem}.expand.{leaf}"] = state.pop(f"{stem}.{leaf}")
    try:
        width = state["velocity.in_proj.weight"].shape[0]
        mid_blocks = len({k.split(".")[2] for k in state if k.startswith("velocity.mid.")})
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{path} lacks a usable velocity.in_proj.weight") from error
    properties = get_task(task)
    config = paper_config_for(
        task,
        num_steps=properties.num_steps,
        sigma_s=properties.sigma_s,
        expansion=4 if expanded else 0,
    )
    if (width, mid_blocks) != (config.velocity_width, config.velocity_mid_blocks):
        raise CheckpointError(
            f"{path} is not the published checkpoint of {task!r}",
            got=f"base width {width} and {mid_blocks} mid blocks (as published for "
            f"{_tasks_of(width, mid_blocks)})",
            expected=f"base width {config.velocity_width}, {config.velocity_mid_blocks} mid blocks",
            fix="pass the task that it was trained for",
        )
    return config


def _tasks_of(width: int, mid_blocks: int) -> str:
    fitting = [
        name
        for name in TASKS
        if (c := paper_config_for(name, num_steps=1, sigma_s=0.0)).velocity_width == width
        and c.velocity_mid_blocks == mid_blocks
    ]
    return ", ".join(fitting) or "no task"


def _check_keys(path: Path, checkpoint: Checkpoint) -> None:
    with torch.device("meta"):
        reference = Elir(checkpoint.config).state_dict()
    _compare(path, checkpoint.state, reference)


def _compare(path: Path, state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> None:
    """Require the same names and shapes; list what differs."""
    missing = sorted(set(reference) - set(state))
    unexpected = sorted(set(state) - set(reference))
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(reference[key].shape)}"
        for key in sorted(set(state) & set(reference))
        if state[key].shape != reference[key].shape
    ]
    problems = [
        f"{label} {_some(names)}"
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
            got=_some(bad),
            fix="use a checkpoint from before the training diverged",
        )


def _some(names: Sequence[object], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more
