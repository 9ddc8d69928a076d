"""Self-contained pages: blocks of text, tables and figures, and the templates that show them."""
