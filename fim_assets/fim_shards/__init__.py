"""The stage `fim_shards`: files rearranged for fill-in-the-middle."""
