"""What the speed benchmark measures: checkpoints, the bundles exported of them, and photos."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import torch

from benchmarks.peaks import count_macs
from benchmarks.speed.deployments import Deployment
from benchmarks.speed.rows import Subject
from benchmarks.speed.torch_worker import CHECKPOINT
from elir_edge.checkpoints.own import (
    Checkpoint,
    build_model,
    embedded_path,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.errors import BackendError, ExportError, ParityError, UsageError
from elir_edge.model import Elir, collapse, initialize, paper_config_for
from elir_edge.runtime.bundle import Bundle
from elir_edge.tasks import TASKS, get_task
from export.plan import run_export
from export.request import Request

MODELS = ("nano", "sensor", "paper")
"""Shipped weights, and the published sizes with random ones."""
PHOTOS = "photos"
DIST = "dist"
_EXPORTED = ("onnx", "tflite")
"""Targets whose bundles are made before anything is measured."""
_RANDOM_CROPS = 16
"""Calibration crops where the weights are random: ranges then matter for nothing."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A subject in a folder: checkpoint, bundles, photos.

    Attributes:
        folder: holds `checkpoint.safetensors`, `dist` and `photos`.
        subject: task, model, size and what was counted of them.
        model: the network, collapsed.
        refusals: why there is no bundle, by target and precision; filled as exports fail.
    """

    folder: Path
    subject: Subject
    model: Elir
    refusals: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def graph(self) -> onnx.ModelProto:
        """Return the exported float32 graph."""
        return onnx.load(self.bundle("onnx", "fp32") / "model.onnx")

    def bundle(self, target: str, precision: str) -> Path:
        """Return the folder of an exported bundle."""
        (found,) = (self.folder / DIST).glob(f"*-{target}-{precision}*")
        return found

    def artifact(self, deployment: Deployment) -> Path | None:
        """Return the file that a deployment loads; None where it is made elsewhere or nowhere."""
        if deployment.target == "torch":
            return self.folder / CHECKPOINT
        if deployment.target not in _EXPORTED or self.refusal(deployment) is not None:
            return None
        bundle = Bundle.open(self.bundle(deployment.target, deployment.precision))
        runtime = deployment.runtime.removesuffix("-cuda")
        return bundle.artifact_for(runtime)

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why a deployment's bundle was not made; None where it was."""
        return self.refusals.get((deployment.target, deployment.precision))


def parse_names(text: str, known: Iterable[str], what: str) -> list[str]:
    """Return the names of a comma-separated list; `all`: all known ones.

    Raises:
        UsageError: a name is not known.
    """
    names = list(known)
    if text.strip() == "all":
        return names
    asked = list(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in asked:
        if word not in names:
            raise UsageError(
                f"unknown {what} {word!r}", expected=f"some of {', '.join(names)}, all"
            )
    return asked


def parse_tasks(text: str) -> list[str]:
    """Return the tasks of a comma-separated list, or all.

    Raises:
        UsageError: one of them is no task.
    """
    return parse_names(text, TASKS, "task")


def checkpoint_of(task: str, model: str, steps: int | None) -> Checkpoint:
    """Return shipped weights, or random ones of the published sizes.

    Args:
        task: its name.
        model: one of `MODELS`.
        steps: Euler steps; None: as many as the weights were trained for, or the paper's.

    Raises:
        CheckpointError: no such weights are shipped.
    """
    if model == "paper":
        properties = get_task(task)
        config = paper_config_for(
            task, num_steps=steps or properties.num_steps, sigma_s=properties.sigma_s
        )
        network = Elir(config)
        initialize(network, torch.Generator().manual_seed(0))
        return Checkpoint(task=task, config=config, state=network.state_dict())
    found = read_checkpoint(embedded_path(task, model), task=task)
    if steps is None:
        return found
    return dataclasses.replace(found, config=dataclasses.replace(found.config, num_steps=steps))


def prepare(folder: Path, task: str, model: str, size: int, steps: int | None) -> Group:
    """Write a checkpoint and its float32 ONNX bundle into a folder, and count its work.

    Raises:
        ElirError: no such weights are shipped, or the size does not suit them.
    """
    checkpoint = checkpoint_of(task, model, steps)
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / CHECKPOINT, checkpoint, dtype=torch.float32)
    network = collapse(build_model(checkpoint))
    assert isinstance(network, Elir)
    subject = Subject(
        task=task,
        model=model,
        size=size,
        steps=checkpoint.config.num_steps,
        parameters=sum(p.numel() for p in network.parameters()),
        macs=0,
    )
    group = Group(folder=folder, subject=subject, model=network)
    export(group, "onnx", "fp32", None)
    for reason in group.refusals.values():
        raise ParityError(
            f"{task}, {model} has no float32 graph to count and compare with: {reason}"
        )
    counted = dataclasses.replace(subject, macs=count_macs(group.graph))
    return dataclasses.replace(group, subject=counted)


def export(group: Group, target: str, precision: str, calibration: Path | None) -> None:
    """Export a bundle into a group's folder; what fails becomes the reason for having none.

    Random weights need not keep int8's gates, which say nothing of them.

    Raises:
        ElirError: see `run_export`.
    """
    random, int8 = group.subject.model == "paper", precision == "int8"
    request = Request(
        task=group.subject.task,
        target=target,
        precision=precision,
        size=group.subject.size,
        checkpoint=group.folder / CHECKPOINT,
        calibration=calibration if int8 else None,
        crops=_RANDOM_CROPS if random and int8 else None,
        enforce_gates=not random,
        out=group.folder / DIST,
    )
    try:
        run_export(request)
    except (BackendError, ExportError, ParityError) as error:
        group.refusals[target, precision] = str(error)


def bundles_of(group: Group, deployments: Sequence[Deployment]) -> list[tuple[str, str]]:
    """Return targets and precisions that deployments need and no export was tried for yet."""
    needed = dict.fromkeys((v.target, v.precision) for v in deployments if v.target in _EXPORTED)
    made = [path.name for path in (group.folder / DIST).iterdir()]
    return [
        (target, precision)
        for target, precision in needed
        if (target, precision) not in group.refusals
        and not any(f"-{target}-{precision}" in name for name in made)
    ]


def facts_of(group: Group, deployments: Sequence[Deployment]) -> dict[str, dict[str, Any]]:
    """Return the file sizes of deployments, in MB, by title."""
    files = {deployment.title: group.artifact(deployment) for deployment in deployments}
    return {
        title: {"megabytes": path.stat().st_size / 1e6}
        for title, path in files.items()
        if path is not None
    }
