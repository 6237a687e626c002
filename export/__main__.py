"""`python -m export`: the command behind `make export`."""

from elir_edge.start import start

if __name__ == "__main__":
    start("export.cli")
