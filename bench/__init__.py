"""Benchmarks: throughput, latency, CPU per transaction, growth.

They start real processes and measure them beside the machine's own ceiling in the same run. May import every room;
no room imports this one.
"""
