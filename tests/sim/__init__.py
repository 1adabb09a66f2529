"""The simulator: real engines under a seeded clock, network and disk (`python -m tests.sim --seeds 100`)."""
