"""The contracts of every chain's genesis, one text file each, in the contract language (docs/contract-language.md).

Their text is compiled, never imported.
"""
