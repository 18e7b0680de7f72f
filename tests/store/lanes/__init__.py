"""open, repair, retire and forget on real Redis: queues and lanes come and go."""
