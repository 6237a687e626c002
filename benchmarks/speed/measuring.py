"""A group of rows, measured here, by ssh, or on a phone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks import gpu
from benchmarks.devices.adb import AdbDevice
from benchmarks.devices.address import AdbAddress, SshAddress
from benchmarks.devices.ssh import SshDevice
from benchmarks.speed.deployments import YARDSTICKS, Deployment
from benchmarks.speed.rows import (
    EQUAL_DB,
    Row,
    Subject,
    fastest_yardstick,
    summarise,
    yardstick_rate,
)
from benchmarks.speed.subjects import DIST, PHOTOS, Group, facts_of
from benchmarks.speed.torch_worker import reference_outputs
from benchmarks.speed.turns import (
    Measurements,
    TimingProtocol,
    Told,
    TurnPlan,
    Worker,
    load_average,
    machine,
    measure,
)
from benchmarks.speed.worker import list_photos
from elir_edge.errors import BackendError, ParityError
from elir_edge.metrics import psnr
from elir_edge.runtime.backends.tensorrt.engine import gpu_here

_BUNDLE_WORKER = "benchmarks.speed.worker"
_TORCH_WORKER = "benchmarks.speed.torch_worker"
Shown = Callable[[str, Sequence[Row]], None]
"""Gets what is being done, and the rows so far."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A group's rows, and the circumstances.

    Attributes:
        rows: of all deployments that were asked for.
        peaks: the machine's 10^9 multiply-accumulates a second, by arithmetic.
        machine: facts about what ran them.
        load_before: the system's load over 1, 5 and 15 minutes; None where it has none.
        load_after: the same in the end.
    """

    rows: tuple[Row, ...]
    peaks: dict[str, float]
    machine: dict[str, Any]
    load_before: list[float] | None
    load_after: list[float] | None


class Place(Protocol):
    """Where a group is measured.

    Attributes:
        portable: whether only bundles run there.
        runtimes: those that run there; None: any.
    """

    portable: bool
    runtimes: tuple[str, ...] | None

    def measure(
        self,
        group: Group,
        deployments: Sequence[Deployment],
        counts: TimingProtocol,
        threads: int,
        shown: Shown,
    ) -> Measured:
        """Measure the deployments of a group side by side.

        Raises:
            ElirError: the place fails; a row that cannot run says so itself.
        """


class ThisMachine:
    """The machine that this program runs on."""

    portable = False
    runtimes: tuple[str, ...] | None = None

    def measure(
        self,
        group: Group,
        deployments: Sequence[Deployment],
        counts: TimingProtocol,
        threads: int,
        shown: Shown,
    ) -> Measured:
        """Measure in processes of this machine, with yardsticks among them."""
        plan, refused = plan_of(group, deployments, counts, threads)
        facts = facts_of(group, deployments)

        def told(phase: str, done: int, total: int, known: Measurements) -> None:
            rows = summarise(group.subject, deployments, known | refused, facts) if known else []
            shown(f"{phase}: {done} of {total}", rows)

        before = load_average()
        found = measure(plan, group.folder, told) | refused
        return _measured(
            group,
            deployments,
            found,
            {"load_before": before, "load_after": load_average(), "machine": here()},
        )


class BySsh:
    """Another machine that takes ssh."""

    portable = True
    runtimes: tuple[str, ...] | None = None

    def __init__(self, device: SshDevice) -> None:
        self.device = device

    def measure(
        self,
        group: Group,
        deployments: Sequence[Deployment],
        counts: TimingProtocol,
        threads: int,
        shown: Shown,
    ) -> Measured:
        """Measure there; rows whose runtime is missing there say so."""
        plan, refused = plan_of(group, deployments, counts, threads, yardsticks=False)
        pushed = (DIST, PHOTOS)
        result = self.device.measure(group.folder, pushed, plan, _without_rows(shown))
        result["machine"] |= {"device": str(self.device.address), "gpu": None}
        return _measured(group, deployments, result["rows"] | refused, result)


class ByAdb:
    """A phone that adb lists."""

    portable = True
    runtimes: tuple[str, ...] | None = ("litert",)

    def __init__(self, device: AdbDevice) -> None:
        self.device = device

    def measure(
        self,
        group: Group,
        deployments: Sequence[Deployment],
        counts: TimingProtocol,
        threads: int,
        shown: Shown,
    ) -> Measured:
        """Measure TFLite files there, alone: no time from end to end, no PSNR."""
        refused = _refused(group, deployments)
        files = {v.title: group.artifact(v) for v in deployments if v.title not in refused}
        models = {title: path for title, path in files.items() if path is not None}
        facts = {**self.device.machine(), "device": str(self.device.address), "gpu": None}
        found: Measurements = {}
        if models:
            found = self.device.measure(models, counts, threads, _without_rows(shown))
        circumstances = {"machine": facts, "load_before": None, "load_after": None}
        return _measured(group, deployments, found | refused, circumstances)


def place_of(address: SshAddress | AdbAddress | None, *, config: Path | None, python: str) -> Place:
    """Return the place of an address, checked; None: this machine.

    Raises:
        ElirError: it does not answer, or lacks what is needed.
    """
    if address is None:
        return ThisMachine()
    if isinstance(address, AdbAddress):
        phone = AdbDevice(address)
        phone.check()
        return ByAdb(phone)
    other = SshDevice(address, config=config, python=python)
    other.check()
    return BySsh(other)


def here() -> dict[str, Any]:
    """Return facts about this machine."""
    return {**machine(), "device": "this machine", "gpu": gpu.gpu_name()}


def plan_of(
    group: Group,
    deployments: Sequence[Deployment],
    counts: TimingProtocol,
    threads: int,
    *,
    yardsticks: bool = True,
) -> tuple[TurnPlan, Measurements]:
    """Return the workers of a group's deployments, and those that cannot run, with reasons."""
    refused = _refused(group, deployments)
    workers = [_worker(group, v, threads) for v in deployments if v.title not in refused]
    if yardsticks and any(not deployment.gpu for deployment in deployments):
        workers += [
            replace(_torch_worker(group.subject, name, kind, threads), yardstick=True)
            for name, (kind, _) in YARDSTICKS.items()
        ]
    return TurnPlan(workers=tuple(workers), protocol=counts, threads=threads), refused


def _refused(group: Group, deployments: Sequence[Deployment]) -> Measurements:
    reasons = {
        deployment.title: group.refusal(deployment) or _no_gpu(deployment)
        for deployment in deployments
    }
    return {title: {"reason": reason} for title, reason in reasons.items() if reason is not None}


def _no_gpu(deployment: Deployment) -> str | None:
    """Return why a GPU row is not even started here; its process would take seconds to say so."""
    if not deployment.gpu or gpu_here() is not None:
        return None
    try:
        gpu.require_cuda()
    except BackendError as error:
        return str(error)
    return None


def _worker(group: Group, deployment: Deployment, threads: int) -> Worker:
    if deployment.kind is not None:
        return _torch_worker(group.subject, deployment.title, deployment.kind, threads)
    bundle = group.bundle(deployment.target, deployment.precision).relative_to(group.folder)
    arguments = (bundle.as_posix(), deployment.runtime, PHOTOS, str(threads))
    return Worker(row=deployment.title, module=_BUNDLE_WORKER, arguments=arguments)


def _torch_worker(subject: Subject, row: str, kind: str, threads: int) -> Worker:
    arguments = (kind, ".", subject.task, str(subject.size), PHOTOS, str(threads))
    return Worker(row=row, module=_TORCH_WORKER, arguments=arguments)


def _without_rows(shown: Shown) -> Told:
    return lambda phase, done, total, known: shown(f"{phase}: {done} of {total}", [])


def _measured(
    group: Group,
    deployments: Sequence[Deployment],
    found: Measurements,
    circumstances: dict[str, Any],
) -> Measured:
    facts = facts_of(group, deployments)
    for title, decibels in _psnr(group, deployments, found).items():
        if isinstance(decibels, str):
            found = found | {title: {"reason": decibels}}
        else:
            facts.setdefault(title, {})["psnr_db"] = decibels
    peaks = {}
    for arithmetic in ("fp32", "int8"):
        best = fastest_yardstick(arithmetic, found)
        rate = None if best is None else yardstick_rate(best, found)
        if rate is not None:
            peaks[arithmetic] = round(rate, 1)
    return Measured(
        rows=tuple(summarise(group.subject, deployments, found, facts)),
        peaks=peaks,
        machine=circumstances["machine"],
        load_before=circumstances["load_before"],
        load_after=circumstances["load_after"],
    )


def _psnr(
    group: Group, deployments: Sequence[Deployment], found: Measurements
) -> dict[str, float | str]:
    """Return the mean PSNR of each row's results against float32, by title; or what is wrong.

    The published way draws other noise for every image, so that there is nothing to compare.
    """
    files = {
        deployment.title: group.folder / found[deployment.title]["outputs"]
        for deployment in deployments
        if "outputs" in found[deployment.title] and deployment.kind not in ("published", "cuda")
    }
    if not files:
        return {}
    arrays = {title: np.load(path, allow_pickle=False) for title, path in files.items()}
    count = max(len(array) for array in arrays.values())
    subject = group.subject
    with torch.inference_mode():
        reference = reference_outputs(
            group.folder, subject.task, subject.size, list_photos(group.folder / PHOTOS)[:count]
        )
    decibels: dict[str, float | str] = {}
    for title, array in arrays.items():
        try:
            decibels[title] = mean_psnr(array, reference)
        except ParityError as error:
            decibels[title] = str(error)
    return decibels


def mean_psnr(results: Any, reference: Sequence[Any]) -> float:
    """Return the mean PSNR of images (N, H, W, 3), equal ones counted as `EQUAL_DB`.

    Raises:
        ParityError: values are not finite, or shapes differ.
    """
    values = [psnr(one, other) for one, other in zip(results, reference, strict=True)]
    if any(np.isnan(value) for value in values):
        raise ParityError("its values are not finite")
    return float(np.mean([min(value, EQUAL_DB) for value in values]))
