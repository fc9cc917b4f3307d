"""The nouns: what the stages hand to each other. Columns and records, no I/O, no torch."""
