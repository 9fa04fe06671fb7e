"""What the tasks share: MEmeL, the training loop, runs and their comparison. Imports no task."""
