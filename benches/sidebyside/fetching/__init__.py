"""The parts of `benches/sidebyside/download`."""
