"""The tests; a package, so that `tests.support` is ours and not somebody's site-packages."""
