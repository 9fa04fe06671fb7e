"""What a run says while it goes on, and TensorBoard to look at it."""
