"""Pictures, files, cameras and streams."""
