"""A seeded sky and the images of it: for the demo, the tests and the benchmarks."""
