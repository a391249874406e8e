"""The front door: HTTP in, rows and hints out. Stateless; any replica answers any request. Never imports torch."""
