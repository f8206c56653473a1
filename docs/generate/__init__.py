"""Pages that follow from the code, one file here for each kind; tests hold that they are current."""
