"""The three stages of a video: screen, render, publish."""
