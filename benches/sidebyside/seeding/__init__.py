"""Parts of `seed` and `instructions` beside this folder: what is measured, by what, and in which network."""
