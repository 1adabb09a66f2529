"""The compiler: a contract's text in, its tree out. For authors' tools and for making a genesis; no node reads text.

The text is parsed as Python and never run. What the compiler lets through, the verifier judges again.
"""
