"""`python -m elir_edge`, which is what `accelerate launch -m` starts."""

from elir_edge.start import main

if __name__ == "__main__":
    main()
