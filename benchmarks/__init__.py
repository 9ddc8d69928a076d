"""Benchmarks of speed and memory, each next to a reference implementation."""

# Before torch, so that OpenMP's threads wait for each other as in the command.
import zsrobust  # noqa: F401
