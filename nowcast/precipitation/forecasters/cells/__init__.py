"""Recurrent cells of the encoder-forecaster."""
