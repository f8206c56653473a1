"""What the command and the web console both do: `timeline` of a message, `reconcile` and `replay`."""
