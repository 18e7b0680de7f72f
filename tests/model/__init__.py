"""A model of the broker: what every queue must hold after each of its transitions."""
