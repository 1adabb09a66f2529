"""What a node keeps on disk: the ledger store that core writes and everybody reads, and core's write-ahead log."""
