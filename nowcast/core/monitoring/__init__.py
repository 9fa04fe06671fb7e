"""Logs of a run, and TensorBoard to look at them."""
