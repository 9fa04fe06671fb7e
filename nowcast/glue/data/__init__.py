"""GLUE's files as batches of tokens."""
