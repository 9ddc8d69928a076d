"""Does PMG-AFT beat TeCoA? The same experiment in several worlds, down to its tables."""
