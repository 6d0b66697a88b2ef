"""What crosses rooms: plain values with units in their names. No behaviour."""
