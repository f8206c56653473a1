"""README, pages, alerts and the CI command."""
