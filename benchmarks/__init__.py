"""Benchmarks: throughput, latency and CPU, side by side with what one would build instead."""
