"""Entry point of the command line; it imports little, so that Ctrl-C is handled from the start."""

import importlib
import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def start(module: str) -> NoReturn:
    """Import a command's module, which may take seconds, and run its `main`.

    Ctrl-C during the import prints one line and exits with code 130, as it does later.
    """
    try:
        importlib.import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    raise AssertionError(f"{module}.main returned")


def main() -> NoReturn:
    """Run `elir-edge`."""
    start("elir_edge.cli.app")
