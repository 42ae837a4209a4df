"""What happens after index, how it is dated, and what competes with it."""
