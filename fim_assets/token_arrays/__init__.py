"""The stage `token_arrays`: documents encoded to arrays of token ids."""
