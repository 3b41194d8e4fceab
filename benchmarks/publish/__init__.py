"""What is made of the results: README and docs/benchmarks.md, the cards of the models, one page of everything."""
