"""The `pilechain` command: one module for each group of commands.

Commands parse arguments, call the room that does the work and print. They hold no rules of their own.
"""
