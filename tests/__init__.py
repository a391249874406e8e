"""Tests; packages, so that files of the same name in two rows can be told apart."""
