"""The command ``zsrobust``: one module a command."""
