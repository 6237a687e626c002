"""Make the bundles that come with the wheel: `python -m export.ready`.

They are made from the shipped checkpoints at fp16, which has half the size of fp32 and gives the
same graphs on every machine. The int8 search does not, since it depends on timings.
"""

from typing import NoReturn

import typer
from rich.progress import track

from elir_edge.console import console, run_app
from elir_edge.files import replacing_folder
from elir_edge.tasks import TASKS
from export.freshness import READY, is_fresh, record

PRECISION = "fp16"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def make() -> None:
    """Make the ready bundle of every task, unless the bundles are up to date."""
    if is_fresh():
        print(f"ready bundles are in {READY}")
        return
    from export.plan import run_export
    from export.request import Request

    with replacing_folder(READY) as temporary:
        for task in track(TASKS, description="ready bundles", console=console):
            request = Request(task=task, target="onnx", precision=PRECISION, out=temporary)
            run_export(request)
        record(temporary)
    print(f"ready bundles are in {READY}")


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
