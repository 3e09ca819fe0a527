"""The guest's command and library: pure rules, then the real command against the stand-in, then against the service."""
