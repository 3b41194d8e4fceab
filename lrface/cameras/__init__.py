"""Several cameras in one process: what `cameras.toml` says, and the run that follows from it."""
