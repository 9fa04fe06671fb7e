"""Whether forecasters differ, and how sure that is."""
