"""/admin/v1: what operators see and do, as JSON. No key of a tenant opens it, and no admin key opens /v1."""
