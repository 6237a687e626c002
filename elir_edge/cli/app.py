"""The `elir-edge` command: options before the subcommand, and all subcommands."""

from typing import Annotated, NoReturn

import typer

from elir_edge import __version__
from elir_edge.cli import (
    bench,
    build_engine,
    degrade,
    demo,
    distill,
    doctor,
    evaluate,
    fetch,
    info,
    restore,
    train,
    verify,
)
from elir_edge.console import run_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Efficient Latent Image Restoration: train, run and check.",
)

app.command(epilog=restore.EPILOG)(restore.restore)
app.command(epilog=bench.EPILOG)(bench.bench)
app.command(epilog=degrade.EPILOG)(degrade.degrade)
app.command(epilog=demo.EPILOG)(demo.demo)
app.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=distill.EPILOG)(distill.distill)
app.command(epilog=info.EPILOG)(info.info)
app.command(epilog=verify.EPILOG)(verify.verify)
app.command(epilog=build_engine.EPILOG)(build_engine.build_engine)
app.command(epilog=fetch.EPILOG)(fetch.fetch)
app.command(epilog=doctor.EPILOG)(doctor.doctor)


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)


def _show_version(value: bool) -> None:
    if value:
        print(f"elir-edge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Accept the options that precede the subcommand."""
