"""Tests of fim_assets, laid out as the package is."""
