"""Dagster's side: thin bodies around the plain functions."""
