"""Pixels: everything that turns a plan into frames, and frames into a file."""
