"""Tests of recipe."""
