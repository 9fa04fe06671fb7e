"""What is wrong with an archive: `nowcast data check`."""
