"""The pure part: same input, same answer; no clock, no chance, no network."""
