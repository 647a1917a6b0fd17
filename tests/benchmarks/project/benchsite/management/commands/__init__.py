"""The commands: fill_benchmark."""
