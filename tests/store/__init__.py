"""What is kept, on a real SQLite file."""
