"""A body that is indented in two ways."""


def greet(name):
    text = f"Hello, {name}!"
	return text
