"""The pages of docs/gallery with their pictures, made from real radar and the shipped weights."""
