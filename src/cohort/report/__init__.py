"""The report: one self-contained HTML page, printed from released results only."""
