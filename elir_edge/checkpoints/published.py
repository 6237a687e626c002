"""The two formats of published checkpoints: renaming of tensors, and architecture from shapes.

A `.pth` file is a collapsed state dict with one prefix for each of the four networks. A `.ckpt`
file, written during training, holds four dicts with the over-parametrised form.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from elir_edge.errors import CheckpointError
from elir_edge.model import ModelConfig, paper_config_for
from elir_edge.tasks import TASKS, get_task

_PARTS = {"fmir": "velocity", "mmse": "coarse", "enc": "encoder", "dec": "decoder"}
"""Prefixes of the published state dict -> own prefixes."""


def from_published(
    path: Path, loaded: Mapping[str, Any], task: str
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the architecture and the state dict under own names, float32.

    Args:
        path: path of the file, for messages.
        loaded: content of the file.
        task: the task that the checkpoint is for, which gives K and sigma_s.

    Raises:
        CheckpointError: the content has neither format, or has the sizes of another task's model.
    """
    published = _flatten(path, loaded)
    state = {_own_name(path, key): value.float() for key, value in published.items()}
    return _published_config(path, task, state), state


def is_tiny_autoencoder(names: Iterable[str]) -> bool:
    """Tell whether tensors have the names of diffusers' `AutoencoderTiny`, which TAESD3 uses."""
    return all(name.startswith(("encoder.layers.", "decoder.layers.")) for name in names)


def from_tiny_autoencoder(
    path: Path, published: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the published models' architecture and TAESD3's weights under own names, float32.

    Args:
        path: path of the file, for messages.
        published: tensors by the names of diffusers' `AutoencoderTiny`.

    Raises:
        CheckpointError: a name does not belong to that autoencoder.
    """
    prefixes = {own: prefix for prefix, own in _PARTS.items()}
    state = {}
    for name, value in published.items():
        part, _, rest = name.partition(".")
        state[_own_name(path, f"{prefixes[part]}.{rest}")] = value.float()
    sr = get_task("sr")
    return paper_config_for("sr", num_steps=sr.num_steps, sigma_s=sr.sigma_s), state


def _flatten(path: Path, loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert the `.ckpt` format (four dicts) to the `.pth` format (prefixed keys)."""
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
            got=f"entries {abbreviate(strange)}" if strange else "no entries",
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
"""Published name -> own name. In the result, `<n>` stands for n - 1 and `{n}` for n / 2."""


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
    """Read the model's sizes from the shapes and compare them with those published for the task."""
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


def abbreviate(names: Sequence[object], limit: int = 5) -> str:
    """Return the first `limit` names as text, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more
