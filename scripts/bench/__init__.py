"""What is measured side by side on the machine at hand: `python -m scripts.bench`."""
