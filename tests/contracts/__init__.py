"""What packages promise each other and other teams."""
