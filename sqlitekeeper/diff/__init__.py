"""What differs between the live database and a snapshot, or between two snapshots."""
