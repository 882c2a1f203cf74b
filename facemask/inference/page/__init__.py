"""The page that `facemask serve` shows."""
