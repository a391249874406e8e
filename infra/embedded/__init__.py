"""Postgres, Valkey and SeaweedFS as child processes of one supervisor: real servers, no Docker, no root needed."""
