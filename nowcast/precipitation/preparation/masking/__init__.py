"""Masks estimated from an archive that has none: `nowcast data masks`."""
