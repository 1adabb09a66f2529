"""PBFT as a state machine: an event in, ordered effects out.

Messages, the normal case, checkpoints, view changes and catch-up by sealed blocks. Pure: time comes in as ticks, disk
and network are effects that the caller performs in the given order. May import `ledger`; knows neither `contracts`
nor `devices`.
"""
