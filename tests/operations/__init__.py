"""Reconcile, replay and timelines."""
