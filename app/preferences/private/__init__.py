"""Private data that patterns find in the texts of an export: what there is, where, and the same texts with it masked."""
