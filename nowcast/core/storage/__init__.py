"""Files, run folders and where their content comes from."""
