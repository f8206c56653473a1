"""Helpers of the tests: engines, processes, samples and loads."""
