"""What tests need around the engine: servers, a faulty network, processes, waiting."""
