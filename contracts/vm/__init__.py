"""The contract machine: the code of a contract as a tree, what makes a tree safe, and the two ways to run it.

A tree is data. `verifier` alone decides whether it may run; `interpreter` says what it means; `generator` prints it as
Python for speed. Both are held equal by tests on random programs.
"""
