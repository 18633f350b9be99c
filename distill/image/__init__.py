"""The picture: open, orient, judge, crop."""
