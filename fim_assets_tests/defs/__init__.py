"""Tests of fim_assets.defs."""
