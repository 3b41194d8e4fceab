"""The service: cameras, a REST interface and a web console in one process (extra `serve`)."""
