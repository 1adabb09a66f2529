"""Tests of contracts by their authors: a small chain in memory with parties of every role, and who runs the tests."""
