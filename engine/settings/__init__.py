"""What a user has set once for all runs: the file `config.toml`."""
