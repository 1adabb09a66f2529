"""The full node: the daemon's processes around the pure rooms.

The engine that joins consensus, mempool and executor is pure; storage, transport, API, gateway, indexer, keystore,
configuration and command line are the edges that perform its effects. May import every room but `bench`; nothing but
`bench` imports it.
"""

__version__ = "0.1.0"
"""Version of the package; pyproject.toml reads it from here."""
