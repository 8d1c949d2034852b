"""What people and other tools read of a comparison; every module is one format, from the comparison to text."""
