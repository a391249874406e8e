"""What is remembered: Postgres holds every fact, the object store every byte, Redis only hints."""
