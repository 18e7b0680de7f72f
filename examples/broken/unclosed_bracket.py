"""A list that is never closed."""

PRIMES = [2, 3, 5, 7, 11

print(sum(PRIMES))
