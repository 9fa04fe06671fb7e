"""Clips of frames, drawn, masked and batched."""
