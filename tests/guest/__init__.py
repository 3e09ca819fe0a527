"""The guest's command and library: pure rules, then the command against the fake service, and the real one."""
