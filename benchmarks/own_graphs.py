"""The shipped models as static torch models and ONNX graphs of any side, batch and K, unverified.

Exports (`run_export`) check a graph and write a bundle; benchmarks that need dozens of graphs for
their speed alone take them from here.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import torch

from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.model import Elir, draw_noise
from export.onnx_graph.to_onnx import to_probe_graph, to_shipped_graph
from export.sample import make_sample
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, static_form
from export.targets.registry import get_target


def shipped_model(
    task: str, num_steps: int | None = None, *, variant: str = "nano", path: Path | None = None
) -> Elir:
    """Return a task's model, float32 on the CPU.

    Args:
        task: whose.
        num_steps: Euler steps; None: K, as it was trained.
        variant: of the shipped checkpoint.
        path: another checkpoint instead.

    Raises:
        CheckpointError: none is shipped, or the file cannot serve.
    """
    model = build_model(read_checkpoint(path or embedded_path(task, variant), task=task))
    if num_steps is not None:
        # The weights do not depend on the number of steps: only `trajectory` and `unroll` read it.
        model.config = dataclasses.replace(model.config, num_steps=num_steps)
    return model


def static_model(model: Elir, side: int) -> StaticElir:
    """Return the static form for images of side x side, with float32's exact rewrites."""
    static = static_form(model, draw_noise(model.config, side, side))
    for name in get_target("onnx").rewrites["fp32"]:
        static = REWRITES[name](static).static
    return static


def float_graph(static: StaticElir, task: str, side: int, batch: int = 1) -> onnx.ModelProto:
    """Return the graph (batch, 3, side, side) -> the same."""
    image = make_sample(task, side, batch).degraded
    return to_shipped_graph(to_probe_graph(static, image, None), {})


def sample_batch(
    task: str, side: int, batch: int = 1
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a degraded photo, (batch, 3, side, side) in [0, 1]."""
    degraded: torch.Tensor = make_sample(task, side, batch).degraded
    return degraded.numpy()
