"""Results: tidy estimates, the release gate, provenance."""
