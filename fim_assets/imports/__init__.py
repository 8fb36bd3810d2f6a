"""Which files of a repository a file imports: one module a language, and the order that follows."""
