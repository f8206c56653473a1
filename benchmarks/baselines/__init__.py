"""What one would build instead, written as each library documents it; each runs as a process of its own."""
