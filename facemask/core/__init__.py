"""What every stage uses: command line, errors, parameters, atomic and reproducible files."""
