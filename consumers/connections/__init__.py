"""Sockets to Redis that lose nothing and repeat nothing. Knows no job."""
