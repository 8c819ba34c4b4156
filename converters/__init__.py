"""A trained model in, artifacts out."""
