import os

SECRET_KEY = "not one"
INSTALLED_APPS = ["shipping"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        # `iterator()` would use a cursor WITH HOLD, which is refused: see docs/tools.md.
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
}
