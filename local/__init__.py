"""The pipeline's surroundings on one machine: embedded engines from PyPI wheels, and the provider itself."""
