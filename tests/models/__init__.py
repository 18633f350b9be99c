"""Tiny real models of SD1.5's shape, and the files that they are kept in."""
