"""The records of a run: a log for programs; TensorBoard events and pictures for people."""

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from elir_edge.errors import TrainingError
from elir_edge.files import replacing_file
from elir_edge.pictures import grid

LOG_NAME = "log.jsonl"
TENSORBOARD_NAME = "tensorboard"
SAMPLES_NAME = "samples"


class Record:
    """Writes `log.jsonl`, TensorBoard events and sample grids of a run; use as a context manager.

    Args:
        folder: folder of the run.
        step: number of steps done; entries of an interrupted run beyond this step are deleted.

    Raises:
        TrainingError: the existing log is damaged.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._log = folder / LOG_NAME
        if self._log.exists():
            try:
                lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
                # The last line may be incomplete if the process was killed.
                kept = [s for s in lines if s.endswith("\n") and json.loads(s)["step"] <= step]
            except (ValueError, KeyError, TypeError) as error:
                raise TrainingError(
                    f"{self._log} is damaged ({error})", fix="move it away; the run goes on without"
                ) from error
            with replacing_file(self._log) as path:
                path.write_text("".join(kept))
        self._board = SummaryWriter(folder / TENSORBOARD_NAME, purge_step=step + 1)

    def __enter__(self) -> "Record":
        """Return the record."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        """Close the files."""
        self._board.close()

    def losses(self, step: int, values: dict[str, float]) -> None:
        """Log the losses of a step."""
        self._write({"step": step, **values}, prefix="loss")

    def scores(self, step: int, values: dict[str, float], seconds: float) -> None:
        """Log the validation scores after a step, and the seconds of training so far."""
        self._write({"step": step, "seconds": round(seconds, 1), **values}, prefix="validation")

    def samples(self, step: int, columns: dict[str, list[NDArray[np.uint8]]]) -> None:
        """Save a grid of uint8 validation images (H, W, 3): a column per kind, a row per photo."""
        if not columns:
            return
        rows = list(zip(*columns.values(), strict=True))
        picture = grid(rows, list(columns))
        with replacing_file(self._folder / SAMPLES_NAME / f"step_{step:07d}.png") as path:
            picture.save(path, "PNG")
        self._board.add_image("samples", np.asarray(picture), step, dataformats="HWC")

    def _write(self, values: dict[str, Any], prefix: str) -> None:
        with self._log.open("a") as file:
            file.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name != "step":
                self._board.add_scalar(f"{prefix}/{name}", value, values["step"])
        self._board.flush()
