"""The exhaustive check of one height: `python -m tests.model`, and docs/model.md."""
