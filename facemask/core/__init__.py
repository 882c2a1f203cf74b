"""What every stage uses: command line, errors, parameters, files that are atomic and byte-stable."""
