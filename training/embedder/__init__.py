"""Teachers and faces in, embedders out: recipes, students, distillation, export, calibration."""
