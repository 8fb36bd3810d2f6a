"""Tests of fim_assets.checks."""
