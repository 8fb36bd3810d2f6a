"""The tokenizer: found, loaded, and its fast encoder proved equal to the reference."""
