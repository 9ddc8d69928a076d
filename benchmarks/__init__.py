"""Speed and memory, always beside another way of doing the same, in one run."""
