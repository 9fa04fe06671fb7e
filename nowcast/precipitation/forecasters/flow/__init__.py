"""Optical flow: motion, and rain carried along it."""
