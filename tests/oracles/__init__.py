"""The contracts of the library once more, as Python functions: what the library is held against in tests."""
