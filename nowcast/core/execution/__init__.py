"""Jobs of a comparison or a search, done by worker processes side by side."""
