"""What is made of finished shards for those who use them: copies in the formats of other loaders."""
