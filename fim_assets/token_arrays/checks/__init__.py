"""Checks of `token_arrays`: the arrays hold all texts, exactly, and what a trainer relies on.

They read the files that were written, and share with what wrote them only the layouts and the
segments of a text: `partition.py` opens the files, `registry.py` lists the checks.
"""
