"""A run as asked for: its schema, its parsing from files and arguments, its folder."""
