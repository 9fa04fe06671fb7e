"""Variants by seeds, side by side and in one table: who differs, and how sure that is."""
