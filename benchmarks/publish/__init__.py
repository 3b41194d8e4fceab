"""What is made of the results: README's figures, the models' cards, one page of everything."""
