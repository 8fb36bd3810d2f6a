"""Fill-in-the-middle: draws, cuts, orders, and the transformation of a shard."""
