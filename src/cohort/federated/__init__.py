"""Several sites, one answer: each writes what its persons add up to, and the files together give the estimates."""
