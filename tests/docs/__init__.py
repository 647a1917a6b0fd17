"""The reference pages of docs/: how they are written, and that they are up to date."""
