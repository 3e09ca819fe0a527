"""The rooms of the package, each by itself: rules as tables, no network, no database."""
