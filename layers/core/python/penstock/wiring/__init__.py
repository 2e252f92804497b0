"""Where real things are chosen: one module per function, so that none imports what only another needs."""
