"""Parts of `benches/sidebyside/seed` and `benches/sidebyside/instructions`: what is measured, by what, and in which network."""
