"""From postbacks to messages."""
