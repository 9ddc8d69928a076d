"""Benchmarks of speed and memory, each next to a reference implementation."""
