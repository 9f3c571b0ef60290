"""The subcommands of `evidence`: a module each."""
