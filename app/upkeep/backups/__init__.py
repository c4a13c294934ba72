"""``corral backup`` and ``corral restore``: an installation as one file (docs/decisions/0069)."""
