"""Simulated populations whose truth is known, delivered as extracts."""
