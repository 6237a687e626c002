"""The processes that train one model together (with HF Accelerate); usually there is one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from elir_edge.data.datasets import Share
from elir_edge.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process and its connection to the others that train the same model.

    Attributes:
        accelerator: Accelerate's handle of all processes.
        device: torch device of this process.
    """

    accelerator: "Accelerator"
    device: str

    @property
    def share(self) -> Share:
        """Return this process's share of each batch."""
        return Share(rank=self.accelerator.process_index, count=self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Tell whether this is the main process, the only one that writes files."""
        return bool(self.accelerator.is_main_process)

    def shared(self, module: nn.Module) -> nn.Module:
        """Return the module wrapped so that its gradients are averaged over all processes."""
        if self.accelerator.num_processes == 1:
            return module
        prepared: nn.Module = self.accelerator.prepare_model(module, device_placement=False)
        return prepared

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Average scalars over all processes; every process must call it."""
        stacked = torch.stack([value.float().reshape(()) for value in values.values()])
        averaged: Tensor = self.accelerator.reduce(stacked, reduction="mean")
        return dict(zip(values, averaged.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set in any process; every process must call it."""
        if self.accelerator.num_processes == 1:
            return flag
        total: Tensor = self.accelerator.reduce(torch.tensor(float(flag), device=self.device))
        return bool(total > 0)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process before the others, so that it fills caches for all."""
        with self.accelerator.main_process_first():
            yield

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        self.accelerator.wait_for_everyone()


def join(device: str, *, in_phases: bool = False) -> Processes:
    """Join the processes that `accelerate launch` started; without it, this is the only process.

    Args:
        device: torch device of a single process; of several, each gets one of the same type.
        in_phases: whether some parameters get no gradient in some steps.

    Raises:
        UsageError: torch cannot use the device.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"torch cannot use the device {device!r} ({reason})", fix="pass --device cpu"
        ) from error
    # The training configuration sets the precision, whatever `accelerate config` says.
    accelerator = Accelerator(
        cpu=torch.device(device).type == "cpu",
        mixed_precision="no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=in_phases)],
    )
    own = str(accelerator.device) if accelerator.num_processes > 1 else device
    return Processes(accelerator=accelerator, device=own)
