"""What every stage computes: arrays in, arrays out. No files, no database, no clock, no logging."""
