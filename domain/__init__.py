"""The rules of Kinema: plain values and pure functions, standard library only."""
