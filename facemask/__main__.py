"""`python -m facemask` is the console script `facemask`."""

from facemask.commands import main

main()
