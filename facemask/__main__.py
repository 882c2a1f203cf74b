"""`python -m facemask` is the console script `facemask`."""

from facemask.inference.commands import main

main()
