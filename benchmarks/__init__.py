"""How fast it is, and how far ahead of what people would build instead, side by side on one machine."""
