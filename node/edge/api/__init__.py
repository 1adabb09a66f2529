"""The public HTTP interface of a node: `/v1`, its OpenAPI document, its event streams, and the live page.

It reads the ledger store itself, one short snapshot per request, and submits through core's socket; nothing here runs
in core.
"""
