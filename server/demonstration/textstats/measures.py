"""What is counted: each measure has a name and a function of the text."""

MEASURES = {
    "characters": len,
}
