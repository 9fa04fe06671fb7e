"""What notebooks and the command line call; `nowcast` itself has the public names."""
