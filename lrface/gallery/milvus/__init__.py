"""A gallery in Milvus: collections that several machines share."""
