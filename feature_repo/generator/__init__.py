"""How the E2I data is made: the world, its rows, and how rows arrive late, twice or corrected."""
