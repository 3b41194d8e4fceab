"""The models that ship: what the manifest states of them, and the sessions that run them."""
