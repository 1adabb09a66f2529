"""What the node reads of the contracts' state: Python's types for tables of the library. A test holds them together."""
