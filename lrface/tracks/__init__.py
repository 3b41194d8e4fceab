"""Faces of many frames -> tracks: one template, one decision and a few events a person who passes."""
