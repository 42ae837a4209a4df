"""Codelists: named, versioned, hashed sets of codes, matched by longest prefix."""
