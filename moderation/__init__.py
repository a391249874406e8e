"""The stage of the mission: what may be shown, and how a result says where it comes from."""
