"""Source finders as processes to measure, each in its own environment; see ``catalogue.py``."""
