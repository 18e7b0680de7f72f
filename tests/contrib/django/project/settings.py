"""Settings as a project has them; where Redis is, the environment says."""

from __future__ import annotations

import os

SECRET_KEY = "of-tests-alone"
USE_TZ = True
# Django sets the zone of the whole process, which other tests share.
TIME_ZONE = "UTC"
# A file, as connections to a database in memory are never closed; nothing is written to it.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.devnull}}
INSTALLED_APPS = ["tests.contrib.django.project.shop", "taskmanager.contrib.django"]
TASKS = {
    "default": {
        "BACKEND": "taskmanager.contrib.django.TaskManagerBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"namespace": "shop", "concurrency": 8, "result_ttl": 3600},
    }
}
if "SHOP_LOG" in os.environ:
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"shop": {"format": os.environ["SHOP_LOG"]}},
        "handlers": {"shop": {"class": "logging.StreamHandler", "formatter": "shop"}},
        "root": {"handlers": ["shop"], "level": "INFO"},
    }
