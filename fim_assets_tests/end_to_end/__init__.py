"""Tests of the commands and the UI as a person uses them."""
