"""rclone, the one program that reaches destinations: found, run, watched, understood."""
