"""Everything that stands beside the road: charging piles and the light client inside them.

The light client, the pile's firmware, battery and wire messages are pure: they decide from events and answer with
effects. Agents carry them to MQTT and the network. May import `ledger`; trusts a node for nothing that it can check
by itself, and so knows neither `consensus` nor `contracts`.
"""
