"""One store or service each, behind the Protocol that a step declares."""
