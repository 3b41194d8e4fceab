"""Where results go: JSON lines, annotated pictures and videos, contact sheets."""
