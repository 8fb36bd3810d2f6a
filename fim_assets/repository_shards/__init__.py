"""The asset `repository_shards`: the files of a repository joined to one document."""
