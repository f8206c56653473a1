"""Correlates postbacks by message: every order, every repetition comes to the same state."""
