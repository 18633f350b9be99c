"""The pipeline that made the pocket checkpoint; `python -m distill.pocket.make` runs it."""
