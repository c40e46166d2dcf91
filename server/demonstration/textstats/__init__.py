"""Small facts about a text."""
