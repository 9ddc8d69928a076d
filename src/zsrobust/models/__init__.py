"""Models: loading, preprocessing, and the zero-shot classifier they become."""
