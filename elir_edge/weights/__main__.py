"""Make a trained checkpoint the shipped one: `python -m elir_edge.weights TASK CHECKPOINT`.

The decoder, which all tasks share with the autoencoder, is left out.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from elir_edge.checkpoints.own import embedded_path, read_checkpoint, save_checkpoint
from elir_edge.console import run_app
from elir_edge.tasks import AUTOENCODER, TASKS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m elir_edge.weights sr runs/sr/checkpoint.safetensors")
def embed(
    task: Annotated[str, typer.Argument(help=f"One of {', '.join(TASKS)}.")],
    checkpoint: Annotated[Path, typer.Argument(help="The file that `elir-edge train` wrote.")],
) -> None:
    """Write a task's checkpoint beside the shipped autoencoder that it was trained from."""
    read = read_checkpoint(checkpoint, task=task)
    autoencoder = embedded_path(AUTOENCODER, read.config.variant)
    path = autoencoder.with_name(f"{task}-{read.config.variant}.safetensors")
    save_checkpoint(path, read, dtype=torch.float16, decoder_from=autoencoder)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    run_app(app)
