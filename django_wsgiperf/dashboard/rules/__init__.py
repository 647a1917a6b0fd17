"""What can be wrong, a pure function each: given facts that were read before, it yields findings and asks nobody."""
