"""Made rain, clutter and outages, from a seed."""
