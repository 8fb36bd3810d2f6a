"""Tests of fim_assets.tokens."""
