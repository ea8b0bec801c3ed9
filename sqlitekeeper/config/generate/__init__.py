"""`keeper config init`: a keeper.toml for the databases that are found."""
