"""Indexes for what administrators filter by: videos by model and error, the audit log by actor and action."""

from migrations import online

revision = "0013"
down_revision = "0012"

INDEXES = {
    "videos_by_model": "ON videos (model, id)",
    "videos_by_resolved_model": "ON videos ((plan ->> 'model'), id)",
    "videos_by_error": "ON videos (error_code, id) WHERE error_code IS NOT NULL",
    "audit_log_by_actor": "ON audit_log (actor, id)",
    "audit_log_by_action": "ON audit_log (action, id)",
}


def upgrade() -> None:
    """Index what administrators filter by, beside all who write."""
    for name, definition in INDEXES.items():
        online.create_index(name, definition)
