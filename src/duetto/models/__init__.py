"""Models: their files and metadata, the registry of names, and conventional methods."""
