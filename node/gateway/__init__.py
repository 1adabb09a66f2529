"""MQTT on one side, core and ledger on the other: how piles reach the chain, and their readings an archive."""
