"""Typed, validated settings: one section a stage, layered from TOML files and run parameters."""
