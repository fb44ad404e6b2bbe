"""Adds a table, a column and an index: nothing is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "shipments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("order_id", sa.Integer, sa.ForeignKey("orders.id"), nullable=False),
        sa.Column("carrier", sa.Text, server_default="post"),
    )
    op.add_column("orders", sa.Column("weight", sa.Integer))
    op.create_index("orders_by_total", "orders", ["total"])
