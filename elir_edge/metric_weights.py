"""Weights of metrics from a folder of the user (`--metric-weights DIR`), without network access.

Files are found by their names, in the folder or below it.
"""

import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from elir_edge.errors import CheckpointError, UsageError
from elir_edge.metric_table import LPIPS_FILE as LPIPS_FILE
from elir_edge.metric_table import NIQE_FILE
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.niqe import NUM_FEATURES, NiqeModel

_NIQE_ARRAYS = {"mu_pris_param": (1, NUM_FEATURES), "cov_pris_param": (NUM_FEATURES, NUM_FEATURES)}
_NPZ_ERRORS = (
    OSError,
    EOFError,
    KeyError,
    TypeError,  # raised for a single array instead of an archive
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def find_weights(folder: Path, name: str) -> Path:
    """Return the file called `name` in a folder or below it.

    Raises:
        UsageError: there is no such folder or file.
    """
    check_folder(folder)
    found = sorted(folder.rglob(name))
    if not found:
        raise UsageError(f"no {name} in {folder} or below it", fix="put it there")
    return found[0]


def check_folder(folder: Path) -> None:
    """Check that a path is a folder.

    Raises:
        UsageError: the path is not a folder.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", fix="pass a folder by --metric-weights")


def has_weights(folder: Path, name: str) -> bool:
    """Tell whether a file called `name` is in a folder or below it."""
    return any(folder.rglob(name))


def read_lpips(folder: Path, device: str = "cpu") -> LpipsSqueeze:
    """Return LPIPS on SqueezeNet with the weights of `LPIPS_FILE`, float32.

    Raises:
        UsageError: there is no such file.
        CheckpointError: the file is damaged or has other content.
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


def read_niqe(folder: Path) -> NiqeModel:
    """Return NIQE's statistics of pristine photos from `NIQE_FILE`, in BasicSR's format.

    Raises:
        UsageError: there is no such file.
        CheckpointError: the file is damaged or has other content.
    """
    path = find_weights(folder, NIQE_FILE)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in _NIQE_ARRAYS}
    except _NPZ_ERRORS as error:
        raise damage_error(path, "NIQE's parameters", str(error) or type(error).__name__) from error
    for name, shape in _NIQE_ARRAYS.items():
        found = arrays[name].shape
        if found != shape:
            raise damage_error(path, "NIQE's parameters", f"{name} is {found}, not {shape}")
        if not np.isfinite(arrays[name]).all():
            raise damage_error(path, "NIQE's parameters", f"{name} has values that are not finite")
    return NiqeModel(mean=arrays["mu_pris_param"][0], covariance=arrays["cov_pris_param"])


def damage_error(path: Path, holds: str, reason: str) -> CheckpointError:
    """Return the error for a file that does not hold the expected content."""
    return CheckpointError(f"{path} does not hold {holds} ({reason})", fix="copy the file again")
