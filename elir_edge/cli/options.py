"""Options that several commands have."""

from typing import Annotated

import typer

Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the runtime's.")]
Runtime = Annotated[
    str | None,
    typer.Option(help="One of those the bundle was checked in (see `info`); default: its first."),
]
