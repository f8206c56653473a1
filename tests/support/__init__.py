"""Test helpers: engines, processes, samples, workloads."""
