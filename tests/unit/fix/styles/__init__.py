"""Models of today in three styles: of modules, of functions, and of plain arithmetic; tiny, of random weights."""
