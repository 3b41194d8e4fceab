"""Photo -> portrait -> screening -> templates -> gallery."""
