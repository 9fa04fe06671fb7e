"""Alarms: when rain is forecast where somebody waits for it."""
