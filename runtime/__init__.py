"""What a process needs to start: settings and logs."""
