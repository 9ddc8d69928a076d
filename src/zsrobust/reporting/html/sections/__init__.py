"""The sections of a report, each from what was read to blocks; no HTML is written here."""
