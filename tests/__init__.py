"""The tests, and what they run against: see conftest.py for the engines."""
