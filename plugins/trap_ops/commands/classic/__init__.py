"""Files of classic TraP: read, never executed, and told in the words of this pipeline."""
