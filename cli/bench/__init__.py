"""`python3 dev.py bench`: what a request costs, as ratios to a request that does nothing, in the same run."""
