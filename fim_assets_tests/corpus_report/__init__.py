"""Tests of corpus_report."""
