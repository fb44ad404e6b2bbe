"""Alembic, as `alembic upgrade REVISION` runs it; with `--sql`, prints what it would send."""

import os
import sys

from alembic import command
from alembic.config import Config

config = Config()
config.set_main_option("script_location", os.path.join(os.path.dirname(__file__), "alembic"))
arguments = [argument for argument in sys.argv[1:] if argument != "--sql"]
command.upgrade(config, arguments[0], sql="--sql" in sys.argv)
