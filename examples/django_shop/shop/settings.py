"""Settings of the project. TASKMANAGER_REDIS_URL in the environment names the Redis."""

from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "for-development-only")
DEBUG = "SHOP_SECRET_KEY" not in os.environ
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
TIME_ZONE = "UTC"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "shop.sqlite3"),
        # The web server and the workers write to one file.
        "OPTIONS": {"timeout": 20},
    }
}
# Mails are printed by the worker that sends them.
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = "shop@example.com"

INSTALLED_APPS = ["orders", "taskmanager.contrib.django"]

TASKS = {
    "default": {
        "BACKEND": "taskmanager.contrib.django.TaskManagerBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {
            "concurrency": 8,  # jobs at a time in each worker process
            "result_ttl": 86_400,  # keep results for a day, in seconds
            "processor": {"retry": {"max_retries": 3}},
        },
    }
}
