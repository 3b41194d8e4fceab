"""Many small runs of one recipe, each with another loss or setting; `benchmarks.sweeps` reports them."""
