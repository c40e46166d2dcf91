"""What is counted: each measure has a name and a function of the text."""

# The report shows them in this order. A measure that needs more than a line
# has a module of its own, with its own tests.
MEASURES = {
    "characters": len,
    "paragraphs": lambda text: len([each for each in text.split("\n\n") if each.strip()]),
}
