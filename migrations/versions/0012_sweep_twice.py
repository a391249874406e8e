"""Delete objects twice, and render again what was lost before it was published."""

from alembic import op

revision = "0012"
down_revision = "0010"

# Kept as text: a later change of the table in domain/lifecycle.py needs a migration of its own.
STATES = """
CREATE OR REPLACE FUNCTION kinema_guard_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'received' THEN
      RAISE EXCEPTION 'a video begins as received, not %', NEW.state USING ERRCODE = 'check_violation';
    END IF;
  ELSIF OLD.state || '>' || NEW.state NOT IN (
      'received>screening', 'received>failed', 'received>cancelled', 'received>expired',
      'screening>received', 'screening>held', 'screening>queued', 'screening>failed',
      'screening>cancelled', 'screening>blocked',
      'held>queued', 'held>rendered', 'held>failed', 'held>cancelled', 'held>blocked', 'held>expired',
      'queued>rendering', 'queued>failed', 'queued>cancelled', 'queued>expired',
      'rendering>queued', 'rendering>rendered', 'rendering>failed', 'rendering>cancelled',
      'rendered>publishing', 'rendered>failed', 'rendered>cancelled',
      'publishing>queued', 'publishing>held', 'publishing>rendered', 'publishing>completed', 'publishing>failed',
      'publishing>cancelled', 'publishing>blocked'
  ) THEN
    RAISE EXCEPTION 'a video cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Old processes go on working: they delete the rows that they sweep, and send no video back to be rendered."""
    op.execute("ALTER TABLE objects ADD COLUMN swept_at TIMESTAMP WITH TIME ZONE")
    op.execute(STATES)
