"""Tests of fim_assets.preview."""
