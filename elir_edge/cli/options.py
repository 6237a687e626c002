"""Options that several subcommands share."""

from typing import Annotated

import typer

Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the runtime's.")]
Runtime = Annotated[
    str | None,
    typer.Option(help="A runtime that the bundle was checked in (see `info`); default: the first."),
]
