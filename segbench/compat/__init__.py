"""Drop-ins for code that cannot be edited: the names, arguments and return values of other evaluators."""
