"""What the members of an ensemble say: fields, windows of time, points."""
