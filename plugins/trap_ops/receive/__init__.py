"""The image stream of a telescope, received and written to files."""
