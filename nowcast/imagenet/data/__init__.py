"""A tree of images as batches."""
