"""Tests of fim_assets.fim."""
