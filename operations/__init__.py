"""Operations shared by the command line and the web console: `timeline`, `reconcile`, `repair`, `replay`."""
