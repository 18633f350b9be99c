"""The single-image recipe."""
