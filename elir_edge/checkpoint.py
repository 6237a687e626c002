"""Weights on disk (draft)."""
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from elir_edge.files import replacing_file
from elir_edge.model.config import ModelConfig

FORMAT = "elir-edge/1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    task: str
    config: ModelConfig
    state: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, dtype: torch.dtype) -> None:
    tensors = {k: v.to(dtype).contiguous() for k, v in checkpoint.state.items()}
    header = {
        "format": FORMAT,
        "task": checkpoint.task,
        "model": json.dumps(checkpoint.config.to_dict()),
        "training": json.dumps(checkpoint.training),
    }
    with replacing_file(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def read_autoencoder(path: Path | None, config: ModelConfig) -> Any:
    raise NotImplementedError
