"""Correlates postbacks into messages: any order, and any duplicates, lead to the same state."""
