"""Entry point of `python -m elir_edge`, which `accelerate launch -m` needs."""

from elir_edge.start import main

if __name__ == "__main__":
    main()
