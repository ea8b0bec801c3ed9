"""Work on live databases: created, converted, vacuumed, checkpointed."""
