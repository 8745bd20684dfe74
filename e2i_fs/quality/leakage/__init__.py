"""What a training set knows that it could not have known."""
