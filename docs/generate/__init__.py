"""Generates documents from the code, one module per kind; a test checks that they are up to date."""
