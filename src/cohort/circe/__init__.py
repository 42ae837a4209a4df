"""OHDSI cohort definitions (Circe expressions, JSON): read into a `Cohort`, or refused by name."""
