"""Radar archives in HKO-7's layout and its relatives."""
