"""Tests of the checks: each harms a finished partition, and says which checks find it."""
