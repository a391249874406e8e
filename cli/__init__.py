"""`kinema`: run Kinema on this machine, serve one of its processes, operate it."""
