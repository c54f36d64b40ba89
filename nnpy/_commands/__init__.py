"""The command ``nnpy``: `main` reads the options, and each other module does the work of one subcommand."""
