"""`postbacks replay`: publishes kept postbacks again, through the gateway's own parsing."""
