"""The core process: peers, consensus, execution and the ledger store on one event loop and a few threads."""
