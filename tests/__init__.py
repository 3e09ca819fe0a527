"""What holds the service to its word: unit, store, api, live, chain, and the map of the code."""
