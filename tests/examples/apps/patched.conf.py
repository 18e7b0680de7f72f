"""Let gevent patch before gunicorn loads the application, as --preload with gevent needs it."""

from gevent import monkey

monkey.patch_all()
