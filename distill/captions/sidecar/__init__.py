"""A process of our own with newer packages than the host has."""
