"""MEmeL: the layer, its parts, and how it is plugged into a model.

Imports torch and `core.system.distributed` alone.
"""
