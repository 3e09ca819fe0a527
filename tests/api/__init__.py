"""Conversations with the real app, in memory; `conversation.py` has the helper that they are told with."""
