"""Processes, threads and memory of the machine."""
