"""A whole consortium on one machine: its making, its companies, its running."""
