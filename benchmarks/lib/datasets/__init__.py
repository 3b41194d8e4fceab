"""Readers of data sets that a user has: each gives the same records."""
