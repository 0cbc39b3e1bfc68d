"""The parts of `benches/sidebyside/swarm`."""
