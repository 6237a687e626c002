"""The `elir-edge` command: one file for each subcommand."""
