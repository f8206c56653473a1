"""Publishes stored postbacks again, through the gateway's own parsing."""
