"""`elir-edge fetch`: download a published checkpoint."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from elir_edge.console import console
from elir_edge.tasks import TASKS

EPILOG = "Example: elir-edge fetch bfr --out checkpoints"


def fetch(
    task: Annotated[str, typer.Argument(help=f"One of {', '.join(TASKS)}.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")] = Path("checkpoints"),
    url: Annotated[str | None, typer.Option(help="Another URL of the release.")] = None,
) -> None:
    """Download the published checkpoint of a task."""
    from elir_edge.checkpoints.fetch import RELEASE_URL
    from elir_edge.checkpoints.fetch import fetch as download

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_interactive,  # rich would print an empty line
    ) as progress:
        bar = progress.add_task(f"elir_{task}.pth", total=None)
        path = download(
            task,
            out,
            base_url=url or RELEASE_URL,
            progress=lambda here, total: progress.update(bar, completed=here, total=total),
        )
    print(f"checkpoint {path}")
    print(f"SHA-256    {(path.parent / (path.name + '.sha256')).read_text().split()[0]}")
    print(f"export it: make export TASK={task} TARGET=onnx CHECKPOINT={shlex.quote(str(path))}")
