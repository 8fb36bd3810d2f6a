"""Tests of fim_assets.cli.doctor."""
