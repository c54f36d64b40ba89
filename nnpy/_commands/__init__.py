"""The command ``nnpy`` and what its subcommands do."""
