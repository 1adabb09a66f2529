"""Connections to the other members: frames, mutual TLS, one bounded link per peer."""
