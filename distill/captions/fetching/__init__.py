"""Known models, and fetching them when a person says so."""
