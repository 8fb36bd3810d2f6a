"""The asset `corpus_report`: all partitions together, as numbers, pictures, page and card."""
