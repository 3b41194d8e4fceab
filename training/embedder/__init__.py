"""Trains embedders: recipes, teachers, students, distillation, export, calibration."""
