"""Files that ship with the package: the bundled model, sample volumes and the logo."""
