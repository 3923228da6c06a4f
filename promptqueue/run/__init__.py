"""The conveyor: from prompts to files on disk, durable and resumable."""
