"""Break it, and show that nothing is lost: servers, workers, a nemesis, an oracle, a checker."""
