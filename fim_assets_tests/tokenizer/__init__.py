"""Tests of tokenizer."""
