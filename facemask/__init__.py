"""The package of the stages and of the command facemask."""
