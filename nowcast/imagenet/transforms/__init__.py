"""Pixels to pixels: decoding, cropping, augmentation."""
