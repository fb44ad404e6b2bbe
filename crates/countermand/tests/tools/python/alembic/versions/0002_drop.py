"""Drops a column and a table, and writes a row before that."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.execute("UPDATE orders SET note = 'half' WHERE id = 1")
    op.drop_column("orders", "note")
    op.drop_table("visits_2026")
