"""WebDataset shards: tar files of images and labels, here or behind a URL."""
