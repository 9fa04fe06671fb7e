"""What is done to an archive before training: check, masks, day lists, figures."""
