"""A tiny real checkpoint, the world it draws, and the judge that reads its pictures."""
