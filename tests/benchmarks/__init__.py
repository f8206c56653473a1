"""The harness of the benchmarks, and their report."""
