"""What people read. `python -m docs.generate` writes those pages that follow from the code."""
