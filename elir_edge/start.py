"""Starts a command line; light, so that Ctrl-C is one line from the first moment on."""

import importlib
import sys
from typing import NoReturn

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


def start(module: str) -> NoReturn:
    """Import a command's module, which may take seconds, and run its `main`.

    An interruption on the way there is one line and exit code 130, as later.
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
