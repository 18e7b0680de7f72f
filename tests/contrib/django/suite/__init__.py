"""Run Django's own tests of task backends, ``tests/tasks``, on ours and a real Redis.

They come with Django's source distribution and name the two backends that Django has:
stand_ins.py puts ours in their place.
"""
