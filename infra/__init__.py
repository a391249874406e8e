"""Where Kinema runs: the embedded stack, container images, charts and dashboards."""
