"""What is true: decisions and boards."""
