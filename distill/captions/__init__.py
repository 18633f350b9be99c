"""Captions: tags, names and the captioners that propose them."""
