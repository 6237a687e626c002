"""Weights of metrics from a folder of the user's (`--metric-weights DIR`): no network is asked.

Files are found by their names, in the folder or below it.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from elir_edge.errors import CheckpointError, UsageError
from elir_edge.model.lpips import LpipsSqueeze

LPIPS_FILE = "lpips_squeeze_v0.1.safetensors"


def find_weights(folder: Path, name: str) -> Path:
    """Return the file called `name` in a folder or below it.

    Raises:
        UsageError: there is no such folder, or no such file.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", fix="pass a folder by --metric-weights")
    found = sorted(folder.rglob(name))
    if not found:
        raise UsageError(f"no {name} in {folder} or below it", fix="put it there")
    return found[0]


def read_lpips(folder: Path, device: str = "cpu") -> LpipsSqueeze:
    """Return LPIPS on SqueezeNet with the weights of `LPIPS_FILE`, float32.

    Raises:
        UsageError: no such file.
        CheckpointError: it is damaged or holds something else.
    """
    path = find_weights(folder, LPIPS_FILE)
    network = LpipsSqueeze()
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} does not hold LPIPS on SqueezeNet ({reason})", fix="copy the file again"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise CheckpointError(f"{path} holds values that are not finite", fix="copy it again")
    return network.to(device)
