"""The embedded video model: our own code, our own weights. See README.md in this folder."""
