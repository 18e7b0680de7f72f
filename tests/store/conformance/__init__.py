"""What holds for every script, run over a table that has a row for each: table.py."""
