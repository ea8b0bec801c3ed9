"""The file system: private folders, whole writes, flushes, mounts and room."""
