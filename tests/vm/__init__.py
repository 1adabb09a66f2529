"""Both engines of the contract machine on random programs."""
