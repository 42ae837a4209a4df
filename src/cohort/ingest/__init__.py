"""From a supplier's files to the store's tables, with an account of every physical line."""
