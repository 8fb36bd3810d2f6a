"""Tests of token_arrays."""
