"""Tokens: the tokenizer, the encoding of FIM shards, and the layout of token arrays."""
