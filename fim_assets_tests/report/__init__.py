"""Tests of fim_assets.report."""
