"""Who lends the model."""
