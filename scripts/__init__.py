"""Development: checks, benchmarks and the scripts that reproduce results."""
