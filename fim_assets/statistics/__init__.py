"""Distributions, rates and counts that every stage uses."""
