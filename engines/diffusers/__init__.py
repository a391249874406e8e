"""Open video models from local folders, drawn by the library `diffusers`: one adapter for all of its pipelines."""
