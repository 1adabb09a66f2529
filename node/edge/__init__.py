"""The edge process: HTTP API, read model, operations port, live page, and the gateway as one of its tasks."""
